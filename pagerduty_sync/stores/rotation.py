"""Putting every stored secret under the newest encryption key, so that the older keys can be taken away."""

from __future__ import annotations

from psycopg import sql

from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.secrets import SecretBox

SECRETS = (
    ("integrations", "api_key_encrypted"),
    ("webhook_subscriptions", "secret_encrypted"),
    ("connectors", "routing_key_encrypted"),
    ("notifications", "routing_key_encrypted"),
)
"""Every column that holds a token; a test compares this with the schema."""


class SecretRotation:
    def __init__(self, database: Database, box: SecretBox) -> None:
        self._database = database
        self._box = box

    def run(self) -> dict[str, int]:
        """Write every token anew; how many by table, all in one transaction. Raises SecretError, and changes nothing,
        when one cannot be read with the keys at hand."""
        counts = {}
        with self._database.transaction() as conn:
            for table, column in SECRETS:
                names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
                rows = conn.execute(
                    sql.SQL(
                        "SELECT id, {column} AS token FROM {table} WHERE {column} IS NOT NULL ORDER BY id FOR UPDATE"
                    ).format(**names)
                ).fetchall()
                for row in rows:
                    conn.execute(
                        sql.SQL("UPDATE {table} SET {column} = %(token)s WHERE id = %(id)s").format(**names),
                        {"token": self._box.rotate(row["token"]), "id": row["id"]},
                    )
                counts[table] = len(rows)
        return counts
