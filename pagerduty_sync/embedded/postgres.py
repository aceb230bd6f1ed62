"""A PostgreSQL of our own: made once, then run in the foreground on a loopback port behind a generated password."""

import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

import psycopg

from pagerduty_sync.embedded.binaries import Binaries, find_postgres, postgres_major
from pagerduty_sync.embedded.home import Home
from pagerduty_sync.embedded.server import Server, StartError, choose_port, end_leftover

NAME = "pagerduty_sync"
BUILTIN_LOCALE_SINCE = 17
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    # No socket: its path has a length limit, and the password protects the port.
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "cluster_name": "pagerduty-sync",
    "logging_collector": "off",
}
# For tests that do not pull the plug: an answer may be on its way to the disk only.
FORGETFUL = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


def prepare(home: Home, *, forgetful: bool = False) -> Server:
    """Everything up to the start: binaries, data directory, password and port.

    Raises SettingsError when there is nothing to run or the data is another major version's, StartError when the data
    directory cannot be made.
    """
    data = home.servers / "postgres"
    binaries = find_postgres(data).within_reach_of(home.account, home.servers)
    password = home.secret("postgres-password")
    if not data.exists():
        _make(home, binaries, password)
    record = home.directory / "postgres-port"
    end_leftover(record, lambda port: answering(_url(password, port), data), signal.SIGINT)
    port = choose_port(record)
    options = SETTINGS | (FORGETFUL if forgetful else {})
    command = [str(binaries.program), "-D", str(data), "-p", str(port)]
    for name, value in options.items():
        command += ["-c", f"{name}={value}"]
    url = _url(password, port)
    return Server(
        name="PostgreSQL",
        origin=binaries.origin,
        command=tuple(command),
        url=url,
        directory=data,
        account=home.account,
        stop_signal=signal.SIGINT,
        answering=lambda: answering(url, data),
    )


def answering(url: str, data: Path) -> int | None:
    """The process id of the server at this address if its data directory is ours and our database is in it."""
    try:
        with psycopg.connect(url, dbname="postgres", connect_timeout=2, autocommit=True) as connection:
            row = connection.execute("SELECT current_setting('data_directory')").fetchone()
            if row is None or Path(row[0]).resolve() != data.resolve():
                return None
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (NAME,)).fetchone():
                connection.execute(f"CREATE DATABASE {NAME}")
        return int((data / "postmaster.pid").read_text().split()[0])
    except (psycopg.Error, OSError, ValueError, IndexError):
        return None


def _url(password: str, port: int) -> str:
    return f"postgresql://{NAME}:{password}@127.0.0.1:{port}/{NAME}"


def _make(home: Home, binaries: Binaries, password: str) -> None:
    """Run initdb beside the final place and move the result there: half a data directory is never taken for one."""
    shutil.rmtree(home.servers / "postgres.draft", ignore_errors=True)
    draft, password_file = home.data("postgres.draft"), home.hand_over("postgres-password", password)
    said = subprocess.run(
        [
            binaries.program.with_name("initdb"),
            f"--pgdata={draft}",
            f"--username={NAME}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--no-instructions",
            *_locale(postgres_major(binaries)),
        ],
        cwd=home.servers,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        **home.account.identity(),
    )
    password_file.unlink()
    if said.returncode != 0:
        raise StartError(f"PostgreSQL's data directory could not be made:\n{(said.stdout + said.stderr).strip()}")
    draft.rename(home.servers / "postgres")


def _locale(major: int) -> Sequence[str]:
    if major >= BUILTIN_LOCALE_SINCE:
        return "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"
    return ("--locale=C.UTF-8",)
