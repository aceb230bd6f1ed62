"""Real servers for the tests that need them: one pair a session, a fresh database and an empty Valkey a test."""

import contextlib
import itertools
import logging
import os
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
import structlog

from pagerduty_sync.embedded.throwaway import RunningServer, Throwaway, start_throwaway
from pagerduty_sync.errors import SettingsError

_numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A process configures its logging once; who does so in a test, or in what it stands on, silences no other test."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    logging.disable(logging.NOTSET)
    root.setLevel(logging.WARNING)
    for logger in root.manager.loggerDict.values():
        if isinstance(logger, logging.Logger):
            logger.disabled = False
    yield
    root.handlers[:] = handlers
    root.setLevel(logging.WARNING)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def servers() -> Iterator[Throwaway]:
    """PostgreSQL and Valkey for the whole session; a test that hurts servers starts its own pair."""
    with contextlib.ExitStack() as stack:
        try:
            pair = stack.enter_context(start_throwaway())
        except SettingsError as exc:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(str(exc))
        yield pair


@pytest.fixture(scope="session")
def postgres_server(servers: Throwaway) -> RunningServer:
    """The session's PostgreSQL."""
    return servers.postgres


@pytest.fixture(scope="session")
def valkey_server(servers: Throwaway) -> RunningServer:
    """The session's Valkey."""
    return servers.valkey


@pytest.fixture(scope="session")
def _migrated_template(postgres_server: RunningServer) -> str:
    from pagerduty_sync.stores.database import migrate

    name = "migrated_template"
    _administer(postgres_server, f"CREATE DATABASE {name}")
    migrate(_with_database(postgres_server.url, name))
    return name


@pytest.fixture
def empty_database_url(postgres_server: RunningServer) -> Iterator[str]:
    """A database without a single table."""
    yield from _database(postgres_server, "template1")


@pytest.fixture
def database_url(postgres_server: RunningServer, _migrated_template: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    yield from _database(postgres_server, _migrated_template)


@pytest.fixture
def redis_url(valkey_server: RunningServer) -> str:
    """An empty Valkey."""
    with redis.Redis.from_url(valkey_server.url) as client:
        client.flushall()
    return valkey_server.url


def _database(server: RunningServer, template: str) -> Iterator[str]:
    name = f"test_{next(_numbers)}"
    _administer(server, f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield _with_database(server.url, name)
    _administer(server, f"DROP DATABASE {name} WITH (FORCE)")


def _administer(server: RunningServer, statement: str) -> None:
    with psycopg.connect(server.url, dbname="postgres", autocommit=True) as connection:
        connection.execute(statement.encode())


def _with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
