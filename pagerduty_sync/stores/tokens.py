"""API tokens. Only a token's hash is kept: whoever reads the table cannot use what is in it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection
from datetime import datetime

from psycopg.rows import DictRow

from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.domain.texts import clean
from pagerduty_sync.domain.tokens import Token
from pagerduty_sync.errors import InvalidRequestError, NotFoundError
from pagerduty_sync.stores.case_rows import UUID
from pagerduty_sync.stores.database import Database

LONGEST_NAME = 200


class Tokens:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, permissions: Collection[str], expires_at: datetime | None = None) -> tuple[Token, str]:
        """A new token and its clear text, which is shown this once and cannot be read again."""
        unknown = sorted(set(permissions) - ALL)
        if unknown or not permissions:
            said = f"{unknown[0]!a} is no permission" if unknown else "a token needs at least one permission"
            raise InvalidRequestError(f"{said}; there are {', '.join(sorted(ALL))}.", "permissions")
        if expires_at is not None and expires_at.tzinfo is None:
            raise InvalidRequestError("expires_at needs a time zone, such as Z.", "expires_at")
        prefix = secrets.token_hex(4)
        clear = f"pds_{prefix}_{secrets.token_urlsafe(32)}"
        with self._database.transaction() as connection:
            row = connection.execute(
                """
                INSERT INTO api_tokens (name, prefix, token_sha256, permissions, expires_at)
                VALUES (%(name)s, %(prefix)s, %(sha256)s, %(permissions)s, %(expires_at)s)
                RETURNING *
                """,
                {
                    "name": clean(name, "name", LONGEST_NAME),
                    "prefix": prefix,
                    "sha256": _sha256(clear),
                    "permissions": sorted(set(permissions)),
                    "expires_at": expires_at,
                },
            ).fetchone()
        assert row is not None
        return _token_of(row), clear

    def find(self, clear: str) -> Token | None:
        """The live token with this clear text; None when there is none, or it is revoked or has expired.

        Looked up by hash: how long it takes says nothing about how much of a guess was right. Notes the use, at most
        once a minute, so that reading with a token does not mean writing a row each time.
        """
        with self._database.transaction() as connection:
            row = connection.execute(
                """
                SELECT *, coalesce(last_used_at < now() - interval '1 minute', true) AS is_use_news FROM api_tokens
                WHERE token_sha256 = %(sha256)s
                  AND revoked_at IS NULL
                  AND (expires_at IS NULL OR expires_at > now())
                """,
                {"sha256": _sha256(clear)},
            ).fetchone()
            if row is None:
                return None
            if row["is_use_news"]:
                connection.execute(
                    """
                    UPDATE api_tokens SET last_used_at = now()
                    WHERE id = (SELECT id FROM api_tokens WHERE id = %(id)s FOR UPDATE SKIP LOCKED)
                    """,
                    {"id": row["id"]},
                )
        return _token_of(row)

    def get_live(self, token_id: str) -> Token | None:
        """The token with this id, as long as it is neither revoked nor expired."""
        if not UUID.fullmatch(token_id):
            return None
        with self._database.transaction() as connection:
            row = connection.execute(
                """
                SELECT * FROM api_tokens
                WHERE id = %(id)s AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
                """,
                {"id": token_id},
            ).fetchone()
        return _token_of(row) if row else None

    def revoke(self, token_id: str) -> Token:
        """End a token for good; a second time keeps the time of the first. Raises NotFoundError."""
        if UUID.fullmatch(token_id):
            with self._database.transaction() as connection:
                row = connection.execute(
                    """
                    UPDATE api_tokens SET revoked_at = coalesce(revoked_at, now()) WHERE id = %(id)s RETURNING *
                    """,
                    {"id": token_id},
                ).fetchone()
            if row is not None:
                return _token_of(row)
        raise NotFoundError(f"There is no token {ascii(token_id[:64])[1:-1]}.")

    def list_all(self) -> list[Token]:
        """Every token, also those that are over, newest first."""
        with self._database.transaction() as connection:
            rows = connection.execute("SELECT * FROM api_tokens ORDER BY created_at DESC, id")
            return [_token_of(row) for row in rows]


def _sha256(clear: str) -> bytes:
    return hashlib.sha256(clear.encode(errors="surrogatepass")).digest()


def _token_of(row: DictRow) -> Token:
    return Token(
        id=str(row["id"]),
        name=row["name"],
        prefix=row["prefix"],
        permissions=frozenset(row["permissions"]),
        created_at=row["created_at"],
        expires_at=row["expires_at"],
        revoked_at=row["revoked_at"],
        last_used_at=row["last_used_at"],
    )
