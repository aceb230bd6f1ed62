"""Presets, and the routing rules that say which Case takes which connector with which preset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from pagerduty_sync.domain.connectors import ConnectorPath, Destination, Preset, RoutingRule
from pagerduty_sync.domain.presets import BUILTIN_PRESETS
from pagerduty_sync.errors import InvalidRequestError
from pagerduty_sync.stores.database import Connection, Database

_RULES = """
    SELECT r.*, coalesce(
        (SELECT jsonb_agg(jsonb_build_object('connector_id', d.connector_id, 'preset_id', d.preset_id)
                          ORDER BY c.created_at, c.name)
         FROM rule_destinations d JOIN connectors c ON c.id = d.connector_id
         WHERE d.rule_id = r.id), '[]') AS destinations
    FROM routing_rules r
    WHERE (%(source)s::text IS NULL OR r.source = %(source)s) AND (%(name)s::text IS NULL OR r.name = %(name)s)
    ORDER BY r.position
"""


class Routing:
    """The tables presets, routing_rules and rule_destinations."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ------------------------------------------------------------ presets

    def ensure_builtin_presets(self, connection: Connection | None = None) -> list[Preset]:
        """The presets this version brings, made or brought up to date; a custom preset is never touched."""
        with self._database.joined(connection) as conn:
            for builtin in BUILTIN_PRESETS:
                conn.execute(
                    """
                    INSERT INTO presets (name, path, entity, is_builtin, templates)
                    VALUES (%(name)s, %(path)s, %(entity)s, true, %(templates)s)
                    ON CONFLICT (name) DO UPDATE SET templates = excluded.templates
                    WHERE presets.is_builtin AND presets.templates <> excluded.templates
                    """,
                    {
                        "name": builtin.name,
                        "path": builtin.path,
                        "entity": builtin.entity,
                        "templates": Jsonb(dict(builtin.templates)),
                    },
                )
            rows = conn.execute(
                "SELECT * FROM presets WHERE is_builtin ORDER BY array_position(%(names)s::text[], name), name",
                {"names": [builtin.name for builtin in BUILTIN_PRESETS]},
            ).fetchall()
        return [preset_of(row) for row in rows]

    def create_preset(
        self,
        name: str,
        path: ConnectorPath,
        entity: str,
        templates: Mapping[str, str],
        connection: Connection | None = None,
    ) -> Preset:
        """A custom preset; raises InvalidRequestError for a name in use, a built-in one's too."""
        row = None
        if name not in {builtin.name for builtin in BUILTIN_PRESETS}:
            with self._database.joined(connection) as conn:
                row = conn.execute(
                    """
                    INSERT INTO presets (name, path, entity, templates)
                    VALUES (%(name)s, %(path)s, %(entity)s, %(templates)s)
                    ON CONFLICT (name) DO NOTHING
                    RETURNING *
                    """,
                    {"name": name, "path": path, "entity": entity, "templates": Jsonb(dict(templates))},
                ).fetchone()
        if row is None:
            raise InvalidRequestError(f"There is a preset named {name} already.", "name")
        return preset_of(row)

    def preset(self, preset_id: str, connection: Connection | None = None) -> Preset | None:
        with self._database.joined(connection) as conn:
            row = conn.execute("SELECT * FROM presets WHERE id::text = %(id)s", {"id": preset_id}).fetchone()
        return preset_of(row) if row else None

    def preset_by_name(self, name: str, connection: Connection | None = None) -> Preset | None:
        with self._database.joined(connection) as conn:
            row = conn.execute("SELECT * FROM presets WHERE name = %(name)s", {"name": name}).fetchone()
        return preset_of(row) if row else None

    def presets(self) -> list[Preset]:
        """Every preset, built-in ones first, by name."""
        with self._database.transaction() as conn:
            return [preset_of(row) for row in conn.execute("SELECT * FROM presets ORDER BY NOT is_builtin, name")]

    # ------------------------------------------------------------ rules

    def create_rule(
        self,
        name: str,
        source: str,
        condition: str,
        destinations: Sequence[Destination],
        *,
        is_enabled: bool = True,
        is_fallback: bool = False,
        connection: Connection | None = None,
    ) -> RoutingRule:
        """A rule, placed behind all others; raises InvalidRequestError for a name in use."""
        with self._database.joined(connection) as conn:
            row = conn.execute(
                """
                INSERT INTO routing_rules (name, source, condition, is_enabled, is_fallback)
                VALUES (%(name)s, %(source)s, %(condition)s, %(is_enabled)s, %(is_fallback)s)
                ON CONFLICT (name) DO NOTHING
                RETURNING *
                """,
                {
                    "name": name,
                    "source": source,
                    "condition": condition,
                    "is_enabled": is_enabled,
                    "is_fallback": is_fallback,
                },
            ).fetchone()
            if row is None:
                raise InvalidRequestError(f"There is a routing rule named {name} already.", "name")
            conn.execute(
                """
                INSERT INTO rule_destinations (rule_id, connector_id, preset_id)
                SELECT %(rule_id)s, * FROM unnest(%(connector_ids)s::uuid[], %(preset_ids)s::uuid[])
                """,
                {
                    "rule_id": row["id"],
                    "connector_ids": [destination.connector_id for destination in destinations],
                    "preset_ids": [destination.preset_id for destination in destinations],
                },
            )
            made = conn.execute(_RULES, {"source": None, "name": name}).fetchone()
        assert made is not None
        return _rule_of(made)

    def rules(self, source: str | None = None) -> list[RoutingRule]:
        """The rules of one source, or all, in their order, each with its destinations; also those switched off."""
        with self._database.transaction() as conn:
            return [_rule_of(row) for row in conn.execute(_RULES, {"source": source, "name": None})]

    def rule_by_name(self, name: str, connection: Connection | None = None) -> RoutingRule | None:
        with self._database.joined(connection) as conn:
            row = conn.execute(_RULES, {"source": None, "name": name}).fetchone()
        return _rule_of(row) if row else None

    def rule_names_using(self, connector_id: str, connection: Connection | None = None) -> list[str]:
        """The names of the rules that lead to this connector."""
        with self._database.joined(connection) as conn:
            rows = conn.execute(
                """
                SELECT r.name FROM routing_rules r JOIN rule_destinations d ON d.rule_id = r.id
                WHERE d.connector_id::text = %(id)s ORDER BY r.position
                """,
                {"id": connector_id},
            ).fetchall()
        return [row["name"] for row in rows]


def preset_of(row: DictRow) -> Preset:
    return Preset(
        id=str(row["id"]),
        name=row["name"],
        path=ConnectorPath(row["path"]),
        entity=row["entity"],
        templates=row["templates"],
        is_builtin=row["is_builtin"],
    )


def _rule_of(row: DictRow) -> RoutingRule:
    return RoutingRule(
        id=str(row["id"]),
        name=row["name"],
        source=row["source"],
        condition=row["condition"],
        destinations=tuple(Destination(item["connector_id"], item["preset_id"]) for item in row["destinations"]),
        is_enabled=row["is_enabled"],
        is_fallback=row["is_fallback"],
    )
