"""The pool and the migrator, against a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from pagerduty_sync.errors import InvalidRequestError, StorageError
from pagerduty_sync.stores.database import ConstraintError, Database, migrate, migrations, pending_migrations


@pytest.fixture
def database(database_url):
    database = Database(database_url, max_size=4, wait_seconds=2)
    yield database
    database.close()


def test_migrating_twice_applies_every_file_once(empty_database_url):
    every = [name for name, _ in migrations()]

    assert pending_migrations(empty_database_url) == every
    assert migrate(empty_database_url) == every
    assert migrate(empty_database_url) == []
    assert pending_migrations(empty_database_url) == []


def test_two_that_migrate_at_once_apply_every_file_once(empty_database_url):
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, [empty_database_url] * 4))

    assert sorted(name for names in applied for name in names) == [name for name, _ in migrations()]


def test_a_file_that_changed_after_it_was_applied_is_refused(database_url, database):
    with database.transaction() as connection:
        connection.execute("UPDATE schema_migrations SET sha256 = 'other'")

    for look in (migrate, pending_migrations):
        with pytest.raises(StorageError, match=r"0001_initial\.sql was applied .* never edited"):
            look(database_url)


def test_a_migration_that_fails_leaves_nothing_behind(empty_database_url, monkeypatch):
    broken = [("0001_broken.sql", b"CREATE TABLE half (id int); SELECT 1/0;")]
    monkeypatch.setattr("pagerduty_sync.stores.database.migrations", lambda: broken)

    with pytest.raises(InvalidRequestError):
        migrate(empty_database_url)

    with psycopg.connect(empty_database_url) as connection:
        tables = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone()
    assert tables == (0,)


def test_a_block_that_raises_is_rolled_back(database):
    with pytest.raises(ZeroDivisionError), database.transaction() as connection:
        connection.execute("INSERT INTO heartbeats VALUES ('beat', now())")
        _ = 1 / 0

    with database.transaction() as connection:
        assert connection.execute("SELECT * FROM heartbeats").fetchall() == []


def test_a_broken_rule_of_the_schema_names_the_constraint(database):
    with pytest.raises(ConstraintError) as caught, database.transaction() as connection:
        connection.execute("INSERT INTO heartbeats VALUES ('beat', now()), ('beat', now())")

    assert caught.value.constraint == "heartbeats_pkey"
    assert isinstance(caught.value.__cause__, psycopg.errors.UniqueViolation)


@pytest.mark.parametrize("value", ["a\0b", "\ud800"], ids=["NUL", "half a surrogate pair"])
def test_a_text_no_column_can_hold_is_the_callers_mistake(database, value):
    with pytest.raises(InvalidRequestError), database.transaction() as connection:
        connection.execute("SELECT %s::text", (value,))


def test_a_statement_that_takes_too_long_is_cut_off(database_url):
    database = Database(database_url, statement_timeout_seconds=0.1)
    with pytest.raises(StorageError, match="statement timeout"), database.transaction() as connection:
        connection.execute("SELECT pg_sleep(5)")
    database.close()


def test_a_snapshot_reads_one_moment_on_one_connection_and_cannot_write(database):
    def counted():
        with database.transaction() as connection:
            return connection.execute("SELECT count(*) AS n, pg_backend_pid() AS pid FROM audit").fetchone()

    def add():
        with database.transaction() as connection:
            connection.execute("INSERT INTO audit (who, action, subject) VALUES ('a', 'b', 'c')")

    with ThreadPoolExecutor(1) as others:
        with database.snapshot():
            before = counted()
            others.submit(add).result()
            assert counted() == before
            with pytest.raises(StorageError, match="read-only"):
                add()
        assert counted()["n"] == before["n"] + 1
        add()
        with pytest.raises(ZeroDivisionError), database.snapshot():
            raise ZeroDivisionError
        add()
        assert counted()["n"] == before["n"] + 3


def test_connections_the_server_cut_are_replaced(database, database_url):
    with database.transaction():
        pass
    with psycopg.connect(database_url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )

    with database.transaction() as connection:
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_a_server_that_is_not_there_is_a_storage_error_without_the_password():
    database = Database("postgresql://user:hunter2@127.0.0.1:1/none", wait_seconds=0.2)
    with pytest.raises(StorageError) as caught, database.transaction():
        pass
    database.close()
    assert "hunter2" not in str(caught.value)


def test_an_address_that_is_none_is_refused_without_repeating_it():
    with pytest.raises(StorageError) as caught:
        Database("postgresql://user:hunter2 x@@:zz")
    assert "hunter2" not in str(caught.value)
