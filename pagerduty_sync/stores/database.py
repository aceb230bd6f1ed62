"""The way to PostgreSQL: a pool of connections that outlives a restart of the server, and the migrator.

Translates the driver's errors once, for every store. Refuses to know what any table is for.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import resources
from typing import Any, TypeAlias

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import DictRow, dict_row
from psycopg_pool import ConnectionPool

from pagerduty_sync.errors import InvalidRequestError, StorageError
from pagerduty_sync.stores import reader

Connection: TypeAlias = psycopg.Connection[DictRow]

MIGRATION_LOCK = 7_243_000_001
"""Advisory lock of the migrator: two that start together apply each file once."""


class ConstraintError(StorageError):
    """A rule of the schema was broken; `constraint` is its name. The same write will be refused again."""

    def __init__(self, message: str, constraint: str) -> None:
        super().__init__(message)
        self.constraint = constraint


class Database:
    """A pool that connects on first use, so that it may be built before a fork and while the server is down.

    Every connection is in autocommit: nothing stays open unless `transaction()` says so. All waits are bounded.
    """

    def __init__(
        self,
        url: str,
        *,
        max_size: int = 8,
        wait_seconds: float = 3.0,
        statement_timeout_seconds: float = 15.0,
        lock_timeout_seconds: float = 5.0,
        idle_in_transaction_seconds: float = 30.0,
        application_name: str = "pagerduty-sync",
    ) -> None:
        timeouts = {
            "statement_timeout": f"{statement_timeout_seconds * 1000:.0f}",
            "lock_timeout": f"{lock_timeout_seconds * 1000:.0f}",
            "idle_in_transaction_session_timeout": f"{idle_in_transaction_seconds * 1000:.0f}",
        }

        def configure(connection: Connection) -> None:
            for name, value in {"timezone": "UTC", **timeouts}.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))

        self._pool: ConnectionPool[Connection] = ConnectionPool(
            _conninfo(url, application_name),
            kwargs={"autocommit": True, "row_factory": dict_row},
            min_size=1,
            max_size=max_size,
            timeout=wait_seconds,
            max_lifetime=1800,
            # Give up soon and begin anew: the pause between tries doubles, and a server that is back should be used.
            reconnect_timeout=5,
            configure=configure,
            check=ConnectionPool.check_connection,
            open=False,
        )
        self._opening = threading.Lock()
        self._is_open = False
        self._shared = threading.local()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction on one connection; committed at the end of the block, rolled back when it raises.

        Raises ConstraintError when the schema refuses the rows, InvalidRequestError for a value no column can hold,
        StorageError for anything else the database did not do.
        """
        shared: Connection | None = getattr(self._shared, "connection", None)
        if shared is not None:
            with translated_errors():
                yield shared
            return
        with translated_errors(), self._opened().connection() as connection, connection.transaction():
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Whatever this thread reads inside the block is of one moment, and read on one connection; it cannot write."""
        with self.transaction() as connection:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self._shared.connection = connection
            try:
                yield
            finally:
                self._shared.connection = None

    def joined(self, connection: Connection | None) -> AbstractContextManager[Connection]:
        """The caller's transaction when there is one, else one of our own."""
        return self.transaction() if connection is None else nullcontext(connection)

    def close(self) -> None:
        """Give every connection back; the object is of no use afterwards."""
        self._pool.close()

    def _opened(self) -> ConnectionPool[Connection]:
        with self._opening:
            if not self._is_open:
                self._pool.open(wait=False)
                self._is_open = True
        return self._pool


def migrate(url: str) -> list[str]:
    """Apply what is missing of `pagerduty_sync/sql`, in order, and return the names of the files applied now.

    The role that answers questions is made along with them, where the login may make one. Raises StorageError when a
    file that was applied before has changed since.
    """
    applied = []
    with translated_errors(), _connect(url) as connection:
        for name, script in migrations():
            # The lock is the transaction's, so it works behind a pooler and no crash can leave it behind.
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
                recorded = _recorded(connection)
                if name in recorded:
                    _require_unchanged(name, script, recorded[name])
                    continue
                _create_record_table(connection)
                connection.execute(script)
                connection.execute(
                    "INSERT INTO schema_migrations (name, sha256) VALUES (%(name)s, %(sha256)s)",
                    {"name": name, "sha256": _sha256(script)},
                )
                applied.append(name)
        reader.prepare(connection, MIGRATION_LOCK)
    return applied


def pending_migrations(database: Database | str) -> list[str]:
    """The files not applied yet; raises StorageError when an applied one has changed since."""
    with _connection_of(database) as connection:
        recorded = _recorded(connection)
    for name, script in migrations():
        if name in recorded:
            _require_unchanged(name, script, recorded[name])
    return [name for name, _ in migrations() if name not in recorded]


def migrations() -> list[tuple[str, bytes]]:
    """Name and content of every schema file, in the order to apply them."""
    files = (resources.files("pagerduty_sync") / "sql").iterdir()
    return sorted((file.name, file.read_bytes()) for file in files if file.name.endswith(".sql"))


@contextmanager
def translated_errors() -> Iterator[None]:
    """Turn what the driver raises inside the block into this project's errors."""
    try:
        yield
    except psycopg.IntegrityError as exc:
        said, constraint = exc.diag.message_primary or "a constraint was violated", exc.diag.constraint_name or ""
        raise ConstraintError(f"The database refused the change: {said}.", constraint) from exc
    except psycopg.DataError as exc:
        said = exc.diag.message_primary or _first_line(exc)
        raise InvalidRequestError(f"A value cannot be stored: {said}.") from exc
    except UnicodeEncodeError as exc:
        raise InvalidRequestError("A text cannot be stored: it is not valid Unicode.") from exc
    except psycopg.errors.UndefinedTable as exc:
        raise StorageError("The database has no such table; run `pagerduty-sync migrate`.") from exc
    except psycopg.Error as exc:
        raise StorageError(f"The database did not do it: {_first_line(exc)}.") from exc


def _conninfo(url: str, application_name: str) -> str:
    try:
        given = conninfo_to_dict(url)
        defaults: dict[str, Any] = {"connect_timeout": 5, "application_name": application_name}
        return make_conninfo(url, **{name: value for name, value in defaults.items() if name not in given})
    except psycopg.ProgrammingError:
        # The text of the driver's error repeats the address, password and all.
        raise StorageError("The address of the database is not one PostgreSQL understands.") from None


def _connect(url: str) -> Connection:
    conninfo = _conninfo(url, "pagerduty-sync migrate")
    return psycopg.Connection[DictRow].connect(conninfo, autocommit=True, row_factory=dict_row)


@contextmanager
def _connection_of(database: Database | str) -> Iterator[Connection]:
    if isinstance(database, Database):
        with database.transaction() as connection:
            yield connection
    else:
        with translated_errors(), _connect(database) as connection:
            yield connection


def _recorded(connection: Connection) -> dict[str, str]:
    """Hash by name of what was applied; empty before the first migration."""
    found = connection.execute("SELECT to_regclass('schema_migrations') IS NOT NULL AS exists").fetchone()
    if not found or not found["exists"]:
        return {}
    return {row["name"]: row["sha256"] for row in connection.execute("SELECT name, sha256 FROM schema_migrations")}


def _create_record_table(connection: Connection) -> None:
    connection.execute(
        """
        CREATE TABLE IF NOT EXISTS schema_migrations (
            name       text PRIMARY KEY,
            applied_at timestamptz NOT NULL DEFAULT now(),
            sha256     text NOT NULL
        )
        """
    )


def _require_unchanged(name: str, script: bytes, sha256: str) -> None:
    if _sha256(script) != sha256:
        raise StorageError(
            f"{name} was applied to this database with other content than the file has now. A released migration is "
            "never edited: put the file back as it was released and write the change into a new one."
        )


def _sha256(script: bytes) -> str:
    return hashlib.sha256(script).hexdigest()


def _first_line(exc: Exception) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0].rstrip(".")
