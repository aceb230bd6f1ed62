"""The reader: what a statement may do that got past everything in front of it, and how the role comes to be."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from pagerduty_sync.commands.doctor import examine
from pagerduty_sync.dataprime.compiler import Column, Statement
from pagerduty_sync.dataprime.datasets import DATASETS
from pagerduty_sync.dataprime.errors import DataPrimeError
from pagerduty_sync.dataprime.values import Kind
from pagerduty_sync.embedded.throwaway import RunningServer, start_throwaway
from pagerduty_sync.errors import StorageError
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores import reader
from pagerduty_sync.stores.database import Database, migrate
from pagerduty_sync.stores.queries import Queries
from pagerduty_sync.stores.secrets import generate_key


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    """A server of this module's own: roles belong to a whole server."""
    with start_throwaway() as servers:
        yield servers.postgres


def administer(server: RunningServer, statement: str, database: str = "postgres") -> None:
    with psycopg.connect(server.url, dbname=database, autocommit=True) as connection:
        connection.execute(statement.encode())


def address(server: RunningServer, database: str, login: str = "") -> str:
    url = urlsplit(server.url)._replace(path=f"/{database}")
    return (url._replace(netloc=f"{login}:secret@127.0.0.1:{url.port}") if login else url).geturl()


def made(server: RunningServer, name: str, rights: str) -> str:
    """A login with these rights, and the address of an empty database that is its own."""
    administer(server, f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {rights}")
    administer(server, f"CREATE DATABASE {name} OWNER {name}")
    return address(server, name, name)


def is_ready(url: str) -> bool:
    database = Database(url)
    try:
        with database.transaction() as connection:
            return reader.is_ready(connection)
    finally:
        database.close()


def smuggled(database: Database, text: str, timeout_seconds: float = 5) -> list[tuple[object, ...]]:
    """What a text gives that came through as the whole statement."""
    statement = Statement(sql.Composed([sql.SQL(text)]), {}, (Column(("$d", "x"), Kind.STRING, "text"),), (0,))
    return Queries(database, timeout_seconds)._fetch(statement)[0]


REFUSED = [
    ("SELECT api_key_encrypted FROM integrations", "permission denied"),
    ("SELECT name FROM integrations", "permission denied"),
    ("SELECT encode(body, 'escape') FROM inbox", "permission denied"),
    ("SELECT secret_encrypted FROM webhook_subscriptions", "permission denied"),
    ("SELECT prefix FROM api_tokens", "permission denied"),
    ("SELECT title FROM cases", "permission denied"),
    ("SELECT content::text FROM case_timeline", "permission denied"),
    ("SELECT kind FROM case_events", "permission denied"),
    ("SELECT case_name FROM notification_deliveries", "permission denied"),
    ("SELECT case_name FROM notification_deliveries_default", "permission denied"),
    ("SELECT name FROM schema_migrations", "permission denied"),
    ("SELECT rolpassword FROM pg_authid", "permission denied"),
    ("SELECT nextval('case_numbers')::text", "permission denied"),
    ("WITH gone AS (DELETE FROM notification_deliveries RETURNING case_name) SELECT * FROM gone", "not allowed|denied"),
    ("WITH new AS (INSERT INTO delivery_record (id) VALUES (1) RETURNING detail) SELECT * FROM new", "not|denied"),
    ("WITH gone AS (DELETE FROM case_state_update RETURNING title) SELECT * FROM gone", "not|denied"),
    ("DELETE FROM audit RETURNING who", "not allowed|cannot open"),
    ("CREATE TABLE mine (x text)", "not allowed|cannot open"),
    ("SELECT 'a'; SELECT 'b'", "cannot open"),
    ("SELECT pg_read_file('/etc/hostname')", "permission denied"),
    ("SELECT lo_import('/etc/hostname')::text", "permission denied"),
    ("SELECT pg_ls_dir('.')", "permission denied"),
    ("SELECT set_config('role', 'none', true)", "cannot set parameter"),
    ("SELECT set_config('role', 'pagerduty_sync', true)", "cannot set parameter"),
    ("SELECT set_config('session_authorization', 'default', true)", "cannot set parameter"),
    ("SELECT set_config('transaction_read_only', 'off', true)", "read-write mode"),
    ("SELECT query_to_xml('SELECT * FROM integrations', true, true, '')::text", "permission denied"),
    (
        "SELECT concat(set_config('role', 'none', true), query_to_xml('SELECT * FROM cases', true, true, ''))",
        "cannot set parameter",
    ),
    ("SELECT set_config('search_path', 'pg_temp', true) || name FROM integrations", "permission denied"),
]


@pytest.fixture(scope="module", params=["SUPERUSER", "CREATEROLE"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[RunningServer, str]]:
    """A server where nobody has made the reader before, and a migrated database of a login with such rights."""
    with start_throwaway() as servers:
        url = made(servers.postgres, "owner", request.param)
        migrate(url)
        yield servers.postgres, url


@pytest.fixture(scope="module")
def database(place: tuple[RunningServer, str]) -> Iterator[Database]:
    database = Database(place[1])
    yield database
    database.close()


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_the_database_itself_refuses_everything_but_the_datasets(database: Database, text: str, said: str) -> None:
    with pytest.raises(StorageError, match=said):
        smuggled(database, text)


def test_the_datasets_can_be_read_and_the_time_limit_holds(database: Database) -> None:
    assert smuggled(database, "SELECT current_user::text") == [(reader.READER,)]
    for dataset in DATASETS:
        assert smuggled(database, f"SELECT count(*)::text FROM {dataset.view}") == [("0",)]
    with pytest.raises(DataPrimeError, match=r"longer than 0\.1 seconds"):
        smuggled(database, "SELECT pg_sleep(5)::text", 0.1)
    with pytest.raises(DataPrimeError, match=r"longer than 0\.1 seconds"):
        smuggled(database, "SELECT set_config('statement_timeout', '0', true) || pg_sleep(5)::text", 0.1)


def test_nobody_else_may_ask_as_the_reader(place: tuple[RunningServer, str]) -> None:
    server, _ = place
    administer(server, "CREATE ROLE stranger LOGIN PASSWORD 'secret'")
    stranger = psycopg.connect(address(server, "owner", "stranger"))
    with stranger, pytest.raises(psycopg.Error, match="permission denied"):
        stranger.execute("SELECT * FROM answer_as_reader('SELECT 1', 1) AS t (x integer)")


def test_a_new_month_is_read_like_the_others(database: Database) -> None:
    with database.transaction() as connection:
        connection.execute(
            "CREATE TABLE notification_deliveries_2020_01 PARTITION OF notification_deliveries "
            "FOR VALUES FROM ('2020-01-01 00:00+00') TO ('2020-02-01 00:00+00')"
        )
        connection.execute(
            "INSERT INTO notification_deliveries (at, direction, operation, outcome, reason) "
            "VALUES ('2020-01-05', 'inbound', 'x', 'ignored', 'echo')"
        )
    assert smuggled(database, "SELECT reason FROM delivery_record WHERE at < '2021-01-01'") == [("echo",)]
    with pytest.raises(StorageError, match="denied"):
        smuggled(database, "SELECT reason FROM notification_deliveries_2020_01")


def test_what_the_reader_sees_is_the_views_columns_and_no_others(database: Database) -> None:
    seen = smuggled(
        database,
        "SELECT DISTINCT table_name::text FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1",
    )
    assert seen == [("case_state_update",), ("delivery_record",)]


# ------------------------------------------------------------------ how the role comes to be


def test_databases_of_one_server_migrated_at_once_do_not_mind_each_other() -> None:
    with start_throwaway() as servers:
        server = servers.postgres
        names = [f"one_of_{number}" for number in range(6)]
        for name in names:
            administer(server, f"CREATE DATABASE {name}")
        failures: list[BaseException] = []

        def run(url: str) -> None:
            try:
                migrate(url)
            except BaseException as exc:
                failures.append(exc)

        # Each twice, as two programs of one installation that start together.
        threads = [threading.Thread(target=run, args=(address(server, name),)) for name in names * 2]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert all(is_ready(address(server, name)) for name in names)
        administer(server, f"DROP DATABASE {names[0]} WITH (FORCE)")
        administer(server, f"CREATE DATABASE copied TEMPLATE {names[1]}")
        assert is_ready(address(server, "copied"))


def test_without_the_right_to_make_roles_everything_works_and_doctor_says_so(server: RunningServer) -> None:
    url = made(server, "plain", "NOCREATEROLE")
    # Another database of the server has its reader already; it is not this login's.
    administer(server, "CREATE DATABASE neighbour")
    migrate(address(server, "neighbour"))
    assert "0005_reader_and_archive.sql" in migrate(url)
    assert not is_ready(url)
    database = Database(url)
    try:
        assert Queries(database).run("count").rows == [(0,)]
        with pytest.raises(StorageError, match="read-only"):
            smuggled(database, "SELECT nextval('case_numbers')::text")
    finally:
        database.close()
    settings = Settings(encryption_keys=(generate_key(),), database_url=url, redis_url="redis://127.0.0.1:1/0")
    told = {check.name: check for check in examine(settings, pings=False)}
    assert told["reader"].is_ok is None
    assert "read-only" in told["reader"].said and reader.READER in told["reader"].mend

    administer(server, f"GRANT {reader.READER} TO plain")
    assert migrate(url) == []
    assert is_ready(url)
    assert {check.name: check.is_ok for check in examine(settings, pings=False)}["reader"] is True


def test_a_function_that_came_back_as_somebody_else_s_is_not_trusted_and_mended(server: RunningServer) -> None:
    administer(server, "CREATE DATABASE restored")
    url = address(server, "restored")
    migrate(url)
    administer(server, "ALTER FUNCTION answer_as_reader(text, bigint) OWNER TO pagerduty_sync", "restored")
    assert not is_ready(url)
    migrate(url)
    assert is_ready(url)
