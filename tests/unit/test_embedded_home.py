"""The data directory: made once, taken over never, and closed to everybody it does not concern."""

import os
import pwd
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from pagerduty_sync.embedded import home as homes
from pagerduty_sync.embedded.account import Account, server_account
from pagerduty_sync.embedded.environment import LONGEST_SOCKET_PATH, control_socket
from pagerduty_sync.embedded.home import open_directory, open_home
from pagerduty_sync.embedded.lock import holder, only_one
from pagerduty_sync.errors import SettingsError

as_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory anybody may pass through, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="open-") as name:
        Path(name).chmod(0o711)
        yield Path(name)


class TestDirectory:
    def test_a_new_one_is_ours_alone(self, tmp_path: Path) -> None:
        directory = open_directory(tmp_path / "parent" / "data")

        assert mode(directory) == 0o700
        assert open_directory(directory) == directory

    def test_an_empty_one_is_taken(self, tmp_path: Path) -> None:
        assert open_directory(tmp_path) == tmp_path

    def test_one_that_holds_other_things_is_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").touch()
        before = mode(tmp_path)

        with pytest.raises(SettingsError, match="holds other things; let PAGERDUTY_SYNC_DATA_DIR"):
            open_directory(tmp_path)

        assert mode(tmp_path) == before
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]

    def test_one_that_cannot_be_made_names_the_setting(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(SettingsError, match=r"cannot be used .*PAGERDUTY_SYNC_DATA_DIR"):
            open_directory(tmp_path / "file" / "data")


class TestSecrets:
    def test_a_secret_is_made_once_and_is_ours_alone(self, open_place: Path) -> None:
        home = open_home(open_place / "data", fallback=open_place / "fallback")

        first = home.secret("flower-password")

        assert home.secret("flower-password") == first
        assert len(first) >= 32
        assert mode(home.directory / "flower-password") == 0o600

    def test_what_is_handed_over_cannot_be_read_by_others(self, open_place: Path) -> None:
        home = open_home(open_place / "data", fallback=open_place / "fallback")

        path = home.hand_over("valkey.conf", "requirepass secret")

        assert mode(path) == 0o400
        assert path.stat().st_uid == home.account.uid
        assert home.hand_over("valkey.conf", "new").read_text() == "new"


class TestPlaceForServers:
    @as_root
    def test_their_account_passes_through_and_no_mode_above_changes(self, open_place: Path) -> None:
        before = {parent: mode(parent) for parent in (open_place, *open_place.parents)}

        home = open_home(open_place / "data", fallback=open_place / "fallback")

        assert home.servers == open_place / "data" / "servers"
        assert home.notice() is None
        assert home.account.can_reach(home.servers)
        assert not home.account.can_reach(home.directory, flag="-r")
        assert not home.account.can_reach(home.servers, flag="-w")
        assert {parent: mode(parent) for parent in before} == before

    @as_root
    def test_no_place_at_all_is_said_with_the_setting(self, open_place: Path) -> None:
        closed = open_place / "closed"
        closed.mkdir(mode=0o700)

        with pytest.raises(SettingsError, match=r"cannot enter it\); let PAGERDUTY_SYNC_DATA_DIR name"):
            open_home(closed / "data", fallback=closed / "fallback")

    def test_elsewhere_and_said_so_when_their_account_cannot_pass(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Locked(Account):
            def can_reach(self, path: Path, *, flag: str = "-x") -> bool:
                return path.is_relative_to(tmp_path / "fallback")

        somebody = Locked("somebody", os.getuid(), os.getgid())
        monkeypatch.setattr(homes, "server_account", lambda data: somebody)

        home = open_home(tmp_path / "data", fallback=tmp_path / "fallback")

        assert home.servers.parent == tmp_path / "fallback"
        assert open_home(tmp_path / "data", fallback=tmp_path / "fallback").servers == home.servers
        assert open_home(tmp_path / "other", fallback=tmp_path / "fallback").servers != home.servers
        notice = home.notice()
        assert notice is not None
        assert "somebody" in notice
        assert str(home.servers) in notice
        assert "PAGERDUTY_SYNC_DATA_DIR" in notice


class TestAccount:
    def test_an_ordinary_user_runs_them_as_himself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        user = pwd.getpwnam("nobody")
        monkeypatch.setattr(os, "getuid", lambda: user.pw_uid)

        account = server_account()

        assert account.uid == user.pw_uid
        assert account.identity() == {}

    def test_root_runs_them_as_somebody_else_with_no_groups_but_his(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 0)

        account = server_account()

        assert account.uid != 0
        assert account.identity() == {"user": account.uid, "group": account.gid, "extra_groups": []}

    @as_root
    def test_root_keeps_to_the_owner_of_the_data(self, tmp_path: Path) -> None:
        owner = pwd.getpwnam("nobody")
        os.chown(tmp_path, owner.pw_uid, owner.pw_gid)

        assert server_account(tmp_path).name == "nobody"

    def test_data_that_root_made_is_refused_to_an_ordinary_user(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid + 1)

        with pytest.raises(SettingsError, match=r"belongs to user \d+, because root started it first"):
            server_account(tmp_path)

    def test_a_user_without_a_name_is_told_why(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "getuid", lambda: 4_123_456)

        with pytest.raises(SettingsError, match="PAGERDUTY_SYNC_DATABASE_URL"):
            server_account()


class TestOnlyOne:
    def test_a_second_one_is_refused_and_told_by_whom(self, tmp_path: Path) -> None:
        with (
            only_one(tmp_path, lambda: None),
            pytest.raises(SettingsError, match=f"Process {os.getpid()} is already running"),
            only_one(tmp_path, lambda: None),
        ):
            pytest.fail("held twice")

    def test_a_supervisord_that_lost_its_launcher_still_holds_it(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"Process 42 .*make stop"), only_one(tmp_path, lambda: 42):
            pytest.fail("taken over")

    def test_it_is_free_again_afterwards(self, tmp_path: Path) -> None:
        assert holder(tmp_path) is None
        with only_one(tmp_path, lambda: None):
            assert holder(tmp_path) == os.getpid()
        assert holder(tmp_path) is None


class TestControlSocket:
    def test_it_is_in_the_data_directory(self) -> None:
        assert control_socket(Path("/srv/sync")) == Path("/srv/sync/control.sock")

    def test_a_path_that_is_too_long_leads_to_a_short_one_of_our_own(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
        long = Path("/") / ("d" * 60) / ("d" * 60)

        socket = control_socket(long)

        assert socket.parent.parent == tmp_path
        assert mode(socket.parent) == 0o700
        assert len(socket.name) + len("/tmp/pagerduty-sync-65534/") < LONGEST_SOCKET_PATH
        assert control_socket(long / "other") != socket

    def test_a_place_that_others_may_enter_is_not_used(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
        place = tmp_path / f"pagerduty-sync-{os.getuid()}"
        place.mkdir()
        place.chmod(0o777)

        with pytest.raises(SettingsError, match="only we may enter"):
            control_socket(Path("/") / ("d" * 120))
