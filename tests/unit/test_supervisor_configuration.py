"""The one supervisor configuration, read by supervisord itself with the environment the launcher makes."""

import os
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from supervisor.options import ServerOptions

from pagerduty_sync.embedded import launcher
from pagerduty_sync.embedded.account import Account
from pagerduty_sync.embedded.environment import ROOT, complete
from pagerduty_sync.embedded.home import Home
from pagerduty_sync.embedded.server import Server
from pagerduty_sync.settings import Settings

Programs = dict[str, Any]


def a_server(name: str, url: str) -> Server:
    return Server(
        name=name,
        origin="a test",
        command=("/opt/a server", "-D", "/srv/it's here"),
        url=url,
        directory=Path("/"),
        account=Account("root", 0, 0),
        stop_signal=signal.SIGTERM,
        answering=lambda: None,
    )


@pytest.fixture
def home(tmp_path: Path) -> Home:
    directory = tmp_path / "data with a space"
    (directory / "log").mkdir(parents=True)
    return Home(directory, directory / "servers", Account("nobody", 65534, 65534))


@pytest.fixture
def env(home: Home) -> dict[str, str]:
    servers = {
        "postgres": a_server("PostgreSQL", "postgresql://u:pa%25ss@127.0.0.1:5432/db"),
        "valkey": a_server("Valkey", "redis://:hush@127.0.0.1:6379/0"),
    }
    return complete({"ODD": "100%(sure)s"}, Settings(), home, servers, ["simulator"])


@pytest.fixture
def programs(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    options = ServerOptions()
    options.realize(["--configuration", str(ROOT / "deploy" / "supervisor" / "supervisord.conf"), "--nodaemon"])
    assert not [warning for warning in options.parse_warnings if "root" not in warning]
    yield {
        process.name: (group, process) for group in options.process_group_configs for process in group.process_configs
    }


def test_it_has_every_program_and_none_starts_by_itself(programs: Programs) -> None:
    assert sorted(programs) == sorted(["postgres", "valkey", "simulator", *launcher.PROGRAMS])
    assert not any(process.autostart for _, process in programs.values())


def test_everything_that_ends_is_started_again(programs: Programs) -> None:
    assert {process.startretries for _, process in programs.values()} == {999}


def test_a_stop_reaches_the_parent_first_and_leaves_it_time(programs: Programs) -> None:
    for name, (_, process) in programs.items():
        assert not process.stopasgroup, name
        assert process.killasgroup, name
    assert programs["worker-inbound"][1].stopwaitsecs == programs["worker-outbound"][1].stopwaitsecs == 60
    assert programs["web"][1].stopwaitsecs > 25
    assert programs["postgres"][1].stopsignal == signal.SIGINT


def test_they_stop_in_the_order_web_workers_clock_simulator_servers(programs: Programs) -> None:
    groups = {group.name: group.priority for group, _ in programs.values()}

    assert sorted(groups, key=lambda name: (-groups[name], name)) == [
        "web",
        "workers",
        "beat",
        "flower",
        "simulator",
        "valkey",
        "postgres",
    ]
    assert len(set(groups.values())) == len(groups) - 1


def test_a_server_runs_as_its_account_with_its_command_in_one_piece(programs: Programs) -> None:
    for name in ("postgres", "valkey"):
        process = programs[name][1]
        assert process.uid == 65534
        assert shlex.split(process.command) == ["/opt/a server", "-D", "/srv/it's here"]


def test_no_secret_is_an_argument(programs: Programs, env: dict[str, str]) -> None:
    secrets = ["hush", "pa%25ss", env["FLOWER_BASIC_AUTH"].partition(":")[2], env["FLOWER_COOKIE_SECRET"]]

    for _, process in programs.values():
        assert not [secret for secret in secrets if secret in process.command]


class TestEnvironment:
    def test_embedded_servers_become_the_addresses(self, env: dict[str, str]) -> None:
        settings = Settings.from_environment(env)

        assert settings.database_url == "postgresql://u:pa%25ss@127.0.0.1:5432/db"
        assert settings.redis_url == "redis://:hush@127.0.0.1:6379/0"

    def test_an_encryption_key_is_made_once(self, home: Home, env: dict[str, str]) -> None:
        again = complete({}, Settings(), home, {}, [])

        first = Settings.from_environment(env).encryption_keys
        assert len(first) == 1
        assert Settings.from_environment(again).encryption_keys == first

    def test_what_the_operator_set_stays(self, home: Home) -> None:
        given = {
            "PAGERDUTY_SYNC_DATABASE_URL_FILE": "/run/secrets/database",
            "PAGERDUTY_SYNC_ENCRYPTION_KEYS": "given",
            "PAGERDUTY_SYNC_LEASE_SECONDS": "33",
        }
        settings = Settings(database_url="postgresql://x", redis_url="redis://y", encryption_keys=("given",))

        completed = complete(given, settings, home, {}, [])

        assert completed | given == completed
        assert "PAGERDUTY_SYNC_DATABASE_URL" not in completed
        assert "PAGERDUTY_SYNC_ENCRYPTION_KEYS_FILE" not in completed
        assert completed["PAGERDUTY_SYNC_INCLUDE"] == ""

    @pytest.mark.parametrize(("host", "bind"), [("0.0.0.0", "0.0.0.0:8000"), ("::1", "[::1]:8000")])
    def test_the_web_listens_where_it_should(self, home: Home, host: str, bind: str) -> None:
        assert complete({}, Settings(web_host=host), home, {}, [])["PAGERDUTY_SYNC_WEB_BIND"] == bind

    def test_the_data_directory_is_the_same_for_every_program(self, home: Home, env: dict[str, str]) -> None:
        assert Path(env["PAGERDUTY_SYNC_DATA_DIR"]) == home.directory
        assert os.path.isabs(env["PAGERDUTY_SYNC_CONTROL_SOCKET"])  # noqa: PTH117
