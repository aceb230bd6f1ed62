"""Changes of presets and routing rules after they were made; how rules follow one another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from psycopg.types.json import Jsonb

from pagerduty_sync.domain.connectors import Destination
from pagerduty_sync.stores.database import Connection, Database


class RoutingEdits:
    """The tables presets, routing_rules and rule_destinations, as administrators change them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ------------------------------------------------------------ presets

    def update_preset(self, preset_id: str, name: str, templates: Mapping[str, str], connection: Connection) -> None:
        """Another name and other templates; a built-in preset stays as it is."""
        connection.execute(
            """
            UPDATE presets SET name = %(name)s, templates = %(templates)s
            WHERE id = %(id)s AND NOT is_builtin
            """,
            {"id": UUID(preset_id), "name": name, "templates": Jsonb(dict(templates))},
        )

    def delete_preset(self, preset_id: str, connection: Connection) -> None:
        """Forget a preset; raises ConstraintError, at the end of the transaction, while rules or openings use it."""
        # Once an incident is open, nobody asks any more which preset it was opened with.
        connection.execute(
            "UPDATE links SET preset_id = NULL WHERE preset_id = %(id)s AND state <> 'opening'",
            {"id": UUID(preset_id)},
        )
        connection.execute("DELETE FROM presets WHERE id = %(id)s AND NOT is_builtin", {"id": UUID(preset_id)})

    def rule_names_using_preset(self, preset_id: str, connection: Connection | None = None) -> list[str]:
        """The names of the rules that use this preset, in their order."""
        with self._database.joined(connection) as conn:
            rows = conn.execute(
                """
                SELECT DISTINCT r.name, r.position FROM routing_rules r JOIN rule_destinations d ON d.rule_id = r.id
                WHERE d.preset_id = %(id)s ORDER BY r.position
                """,
                {"id": UUID(preset_id)},
            ).fetchall()
        return [row["name"] for row in rows]

    # ------------------------------------------------------------ rules

    def update_rule(
        self,
        rule_id: str,
        *,
        name: str,
        condition: str,
        destinations: Sequence[Destination],
        is_enabled: bool,
        is_fallback: bool,
        connection: Connection,
    ) -> None:
        """Everything of a rule but its source and its place."""
        connection.execute(
            """
            UPDATE routing_rules
            SET name = %(name)s, condition = %(condition)s, is_enabled = %(is_enabled)s, is_fallback = %(is_fallback)s
            WHERE id = %(id)s
            """,
            {
                "id": UUID(rule_id),
                "name": name,
                "condition": condition,
                "is_enabled": is_enabled,
                "is_fallback": is_fallback,
            },
        )
        connection.execute("DELETE FROM rule_destinations WHERE rule_id = %(id)s", {"id": UUID(rule_id)})
        connection.execute(
            """
            INSERT INTO rule_destinations (rule_id, connector_id, preset_id)
            SELECT %(id)s, * FROM unnest(%(connector_ids)s::uuid[], %(preset_ids)s::uuid[])
            """,
            {
                "id": UUID(rule_id),
                "connector_ids": [destination.connector_id for destination in destinations],
                "preset_ids": [destination.preset_id for destination in destinations],
            },
        )

    def delete_rule(self, rule_id: str, connection: Connection) -> None:
        connection.execute("DELETE FROM routing_rules WHERE id = %(id)s", {"id": UUID(rule_id)})

    def order_rules(self, rule_ids: Sequence[str], connection: Connection) -> None:
        """Put these rules, in this order, behind all others."""
        # One statement a rule: each takes the next number, and a set would take them in any order.
        for rule_id in rule_ids:
            connection.execute("UPDATE routing_rules SET position = DEFAULT WHERE id = %(id)s", {"id": UUID(rule_id)})
