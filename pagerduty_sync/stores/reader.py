"""The reader: a role that may read what can be asked about and nothing else, for statements that came from a question.

A role taken by SET ROLE can be given back by the statement itself, through `set_config`. So the statement runs inside a
function that belongs to the reader, where PostgreSQL refuses that. Roles belong to the server and not to a database:
what is there already is used, and databases that are migrated at the same time do not mind each other.
"""

from __future__ import annotations

import psycopg
import structlog
from psycopg import sql
from psycopg.rows import DictRow

from pagerduty_sync.dataprime.datasets import DATASETS

log = structlog.get_logger(__name__)

READER = "pagerduty_sync_reader"
FUNCTION = "answer_as_reader"
TRIES = 5

Connection = psycopg.Connection[DictRow]

# Declared stable, so that it runs nothing that writes, and one statement only.
_FUNCTION = sql.SQL(
    """
    CREATE OR REPLACE FUNCTION {function}(statement text, most_characters bigint) RETURNS SETOF record
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, {schema}, pg_temp
    AS $function$
    DECLARE
        answer record;
        characters bigint := 0;
    BEGIN
        FOR answer IN EXECUTE statement LOOP
            RETURN NEXT answer;
            characters := characters + length(answer::text);
            EXIT WHEN characters > most_characters;
        END LOOP;
    END
    $function$
    """
)


def prepare(connection: Connection, lock: int) -> str:
    """Make the reader and its function as far as they are missing; returns why that cannot be, or nothing.

    `lock` keeps two migrators of one database apart. A login that may make no roles needs one that was made for it;
    until then questions run under the login itself, read-only.
    """
    said = "other migrations were faster every time"
    for _ in range(TRIES):
        try:
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", (lock,))
                _make_role(connection)
                _make_function(connection)
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation, psycopg.errors.InternalError_):
            continue  # The same role was made, or granted, from another database.
        except psycopg.errors.InsufficientPrivilege as exc:
            said = exc.diag.message_primary or "not permitted"
            break
        return ""
    log.warning("reader_missing", why=said, role=READER)
    return said


def is_ready(connection: Connection) -> bool:
    """Whether questions can be answered by the reader; a function of somebody else's does not count."""
    row = connection.execute(
        """
        SELECT EXISTS (
            SELECT FROM pg_proc
            WHERE oid = to_regprocedure(%(function)s) AND proowner = to_regrole(%(role)s) AND prosecdef
              AND has_function_privilege(oid, 'EXECUTE')) AS is_ready
        """,
        {"function": f"{FUNCTION}(text, bigint)", "role": READER},
    ).fetchone()
    return row is not None and bool(row["is_ready"])


def _make_role(connection: Connection) -> None:
    role = sql.Identifier(READER)
    found = connection.execute("SELECT to_regrole(%s) AS role", (READER,)).fetchone()
    if found is None or found["role"] is None:
        connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(role))
    member = connection.execute("SELECT pg_has_role(%s, 'USAGE') AS is_one", (READER,)).fetchone()
    if member is None or not member["is_one"]:
        connection.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(role))


def _make_function(connection: Connection) -> None:
    row = connection.execute("SELECT current_schema() AS name").fetchone()
    assert row is not None
    names = {
        "role": sql.Identifier(READER),
        "schema": sql.Identifier(row["name"]),
        "function": sql.Identifier(row["name"], FUNCTION),
        "views": sql.SQL(", ").join([sql.Identifier(row["name"], dataset.view) for dataset in DATASETS]),
    }
    for statement in (
        sql.SQL("GRANT USAGE ON SCHEMA {schema} TO {role}"),
        sql.SQL("GRANT SELECT ON {views} TO {role}"),
        _FUNCTION,
        sql.SQL("REVOKE ALL ON FUNCTION {function}(text, bigint) FROM PUBLIC"),
        sql.SQL("GRANT EXECUTE ON FUNCTION {function}(text, bigint) TO CURRENT_USER"),
        # To become a function's owner takes the right to make one, for a moment.
        sql.SQL("GRANT CREATE ON SCHEMA {schema} TO {role}"),
        sql.SQL("ALTER FUNCTION {function}(text, bigint) OWNER TO {role}"),
        sql.SQL("REVOKE CREATE ON SCHEMA {schema} FROM {role}"),
    ):
        connection.execute(statement.format(**names))
