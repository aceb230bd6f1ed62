"""Real servers: what they keep, whose they are, and what is said when they cannot start."""

import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread

import psycopg
import pytest
import redis

from pagerduty_sync.embedded import postgres, valkey
from pagerduty_sync.embedded.environment import ROOT
from pagerduty_sync.embedded.home import open_home
from pagerduty_sync.embedded.server import StartError, free_ports
from pagerduty_sync.embedded.throwaway import RunningServer, Throwaway, start_throwaway
from pagerduty_sync.errors import SettingsError


@pytest.fixture(scope="module")
def durable() -> Iterator[Throwaway]:
    """A pair that these tests may hurt."""
    try:
        pair = start_throwaway(durable=True)
        with pair as running:
            yield running
    except SettingsError as exc:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(exc))


def directory_of(server: RunningServer) -> Path:
    """The operator's data directory."""
    return server.log.parent


def test_rows_survive_a_kill(durable: Throwaway) -> None:
    with psycopg.connect(durable.database_url) as connection:
        connection.execute("CREATE TABLE survivors (name text)")
        connection.execute("INSERT INTO survivors SELECT generate_series(1, 1000)")
    before = durable.postgres.pid

    durable.postgres.kill()
    # The pid file of the dead server is still there; whether it is stale is PostgreSQL's to decide.
    assert (durable.postgres.server.directory / "postmaster.pid").exists()
    durable.postgres.start()

    assert durable.postgres.pid != before
    with psycopg.connect(durable.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM survivors").fetchone() == (1000,)


def test_queued_messages_survive_a_restart(durable: Throwaway) -> None:
    with redis.Redis.from_url(durable.redis_url) as client:
        client.rpush("queue", "nudge")

    durable.valkey.restart()

    with redis.Redis.from_url(durable.redis_url) as client:
        assert client.lpop("queue") == b"nudge"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_a_pid_file_that_names_another_process_does_not_keep_it_down(durable: Throwaway) -> None:
    durable.postgres.kill()
    pid_file = durable.postgres.server.directory / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")

    durable.postgres.start()

    assert durable.postgres.server.answering() == durable.postgres.pid


def test_nobody_gets_in_without_the_password(durable: Throwaway) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(durable.database_url, password="wrong")
    anonymous = durable.redis_url.partition("@")[2]
    with redis.Redis.from_url(f"redis://{anonymous}") as client, pytest.raises(redis.AuthenticationError):
        client.ping()


@pytest.mark.skipif(os.getuid() != 0, reason="only root becomes somebody else")
def test_started_by_root_they_run_as_an_account_without_rights(durable: Throwaway) -> None:
    for server in (durable.postgres, durable.valkey):
        ran = subprocess.run(["ps", "-o", "user=", "-p", str(server.pid)], capture_output=True, text=True, check=True)
        assert ran.stdout.strip() in {"postgres", "nobody"}
        assert pwd.getpwuid(server.server.directory.stat().st_uid).pw_name == ran.stdout.strip()


def test_another_server_at_the_address_is_not_taken_for_ours(durable: Throwaway, servers: Throwaway) -> None:
    data = durable.postgres.server.directory

    assert postgres.answering(servers.database_url, data) is None
    assert valkey.answering(servers.redis_url, durable.valkey.server.directory) is None
    assert postgres.answering(durable.database_url, data) == durable.postgres.pid


def test_sorting_and_case_know_more_than_ascii(durable: Throwaway) -> None:
    with psycopg.connect(durable.database_url) as connection:
        assert connection.execute("SELECT upper('größe'), 'ÄRGER' ILIKE 'ärger'").fetchone() == ("GRÖßE", True)


def test_a_server_left_behind_by_a_killed_launcher_is_stopped_before_the_next_start(durable: Throwaway) -> None:
    left_behind = durable.postgres.process
    assert left_behind is not None

    # Our own child stays a zombie until it is waited for; elsewhere init does that.
    Thread(target=left_behind.wait, daemon=True).start()
    again = postgres.prepare(open_home(directory_of(durable.postgres)))

    assert left_behind.wait(10) == 0
    assert again.url == durable.database_url
    durable.postgres.start()


def test_data_of_another_major_version_is_refused(durable: Throwaway) -> None:
    durable.postgres.stop()
    version_file = durable.postgres.server.directory / "PG_VERSION"
    version = version_file.read_text()
    version_file.write_text("12\n")
    try:
        with pytest.raises(SettingsError, match=r"was written by PostgreSQL 12 .*pg_dump"):
            postgres.prepare(open_home(directory_of(durable.postgres)))
    finally:
        version_file.write_text(version)
        durable.postgres.start()


def test_a_server_that_cannot_start_says_its_last_words(durable: Throwaway) -> None:
    second = RunningServer(durable.postgres.server, directory_of(durable.postgres) / "second.log")

    with pytest.raises(StartError, match=r'lock file "postmaster.pid" already exists'):
        second.start()


class TestCommand:
    """`python -m pagerduty_sync.embedded`, as `make run` calls it."""

    def run(self, directory: Path, *words: str, **settings: object) -> subprocess.CompletedProcess[str]:
        web, flower, simulator = free_ports(3)
        chosen = {"DATA_DIR": directory, "WEB_PORT": web, "FLOWER_PORT": flower, "SIMULATOR_PORT": simulator} | settings
        env = {name: value for name, value in os.environ.items() if not name.startswith("PAGERDUTY_SYNC_")}
        return subprocess.run(
            [sys.executable, "-m", "pagerduty_sync.embedded", *words],
            env=env | {f"PAGERDUTY_SYNC_{name}": str(value) for name, value in chosen.items()},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def test_a_taken_port_stops_it_with_one_sentence(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]

            ended = self.run(tmp_path, "run", WEB_PORT=port)

        assert ended.returncode == 2
        assert ended.stdout == ""
        assert ended.stderr == (
            f"Port {port} is taken by another program; stop that or let PAGERDUTY_SYNC_WEB_PORT name another.\n"
        )

    def test_a_bad_setting_stops_it_with_one_sentence(self, tmp_path: Path) -> None:
        ended = self.run(tmp_path, "serve", LEASE_SECONDS="soon")

        assert ended.returncode == 2
        assert ended.stderr.startswith("PAGERDUTY_SYNC_LEASE_SECONDS must be a whole number")
        assert ended.stderr.count("\n") == 1

    def test_there_is_nothing_to_stop_where_nothing_runs(self, tmp_path: Path) -> None:
        ended = self.run(tmp_path, "stop")

        assert ended.returncode == 2
        assert ended.stderr == f"Nothing is running on {tmp_path}.\n"

    def test_a_step_that_fails_says_its_last_words_and_leaves_nothing_running(
        self, tmp_path: Path, servers: Throwaway
    ) -> None:
        (nobody_there,) = free_ports(1)

        ended = self.run(
            tmp_path,
            "serve",
            DATABASE_URL=f"postgresql://u:poison@127.0.0.1:{nobody_there}/db",
            REDIS_URL=servers.redis_url,
        )

        assert ended.returncode == 1
        assert "`pagerduty-sync migrate` failed:" in ended.stderr
        assert str(nobody_there) in ended.stderr
        assert "poison" not in ended.stdout + ended.stderr
        assert "Everything is stopped." in ended.stdout
        assert not (tmp_path / "control.sock").exists()
        assert self.run(tmp_path, "stop").returncode == 2
