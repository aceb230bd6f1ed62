"""One database for all tests of a module, for tables of tests that would else spend their time making databases."""

import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psycopg
import pytest

from pagerduty_sync.embedded.throwaway import RunningServer


@pytest.fixture(scope="module")
def shared_database_url(postgres_server: RunningServer, _migrated_template: str) -> Iterator[str]:
    """A migrated database that the module's tests share; each of them clears what it needs empty."""
    name = f"shared_{uuid.uuid4().hex[:8]}"
    with psycopg.connect(postgres_server.url, dbname="postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {_migrated_template} STRATEGY file_copy".encode())
        yield urlsplit(postgres_server.url)._replace(path=f"/{name}").geturl()
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
