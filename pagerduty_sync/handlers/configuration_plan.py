"""What a configuration text would change, field by field. Reads what is set up, compares, and writes nothing.

Things are known by their names. What a text does not name is not touched, also not a field it leaves out of a thing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pagerduty_sync.domain.connectors import Connector, RoutingRule
from pagerduty_sync.errors import InvalidRequestError, TemplateError
from pagerduty_sync.handlers import templates
from pagerduty_sync.handlers.account_check import base_url_of
from pagerduty_sync.handlers.accounts import Accounts, region_of
from pagerduty_sync.handlers.configuration_parts import (
    Change,
    Parts,
    compared,
    connector_part,
    end_of,
    integration_part,
    preset_part,
)
from pagerduty_sync.handlers.configuration_text import secret
from pagerduty_sync.handlers.connector_changes import ConnectorChanges
from pagerduty_sync.handlers.preset_changes import PresetChanges
from pagerduty_sync.handlers.rule_changes import RuleChanges
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.routing import Routing

RULE_FIELDS = ("source", "condition", "is_enabled", "is_fallback", "destinations")


class ConfigurationPlan:
    """`environment` is where `env:` places are looked up; None stands for the process's own."""

    def __init__(
        self,
        *,
        accounts: Accounts,
        connector_changes: ConnectorChanges,
        preset_changes: PresetChanges,
        rule_changes: RuleChanges,
        integrations: Integrations,
        connectors: Connectors,
        routing: Routing,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._accounts = accounts
        self._connector_changes = connector_changes
        self._preset_changes = preset_changes
        self._rule_changes = rule_changes
        self._integrations = integrations
        self._connectors = connectors
        self._routing = routing
        self._environment = environment

    def of(self, parts: Parts) -> list[Change]:
        """Every difference; raises InvalidRequestError, SecretError."""
        changes: list[Change] = []
        if "integration" in parts:
            changes += self._plan_integration(parts["integration"])
        for part in parts["connectors"]:
            changes += self._plan_connector(part)
        for part in parts["presets"]:
            changes += self._plan_preset(part)
        for part in parts["rules"]:
            changes += self._plan_rule(part, parts)
        return changes + self._plan_order(parts["rules"])

    def _plan_integration(self, part: Parts) -> list[Change]:
        known = next(iter(self._accounts.all()), None)
        wanted = {name: value for name, value in part.items() if name not in ("api_key", "consent")}
        if "region" in wanted:
            wanted["region"] = region_of(base_url_of(wanted["region"]))
        before = integration_part(known) if known else {}
        if "email" in wanted and wanted["email"].casefold() == str(before.get("email", "")).casefold():
            wanted["email"] = before["email"]
        changes = compared("integration", before, wanted, is_new=known is None)
        if "api_key" in part:
            stored = self._integrations.api_key(known.integration.id) if known else None
            changes += self._compared_secret("integration", "api_key", part["api_key"], stored)
        elif known is None:
            raise InvalidRequestError("A new integration needs an api_key.", "integration.api_key")
        return changes

    def _plan_connector(self, part: Parts) -> list[Change]:
        subject = f"connector {part['name']}"
        known = self._connectors.by_name(part["name"])
        standing = self._connector_changes.get(known.id) if known else None
        before = connector_part(standing.connector, standing.key) if standing else {}
        wanted = {name: value for name, value in part.items() if name not in ("name", "routing_key", "region")}
        if known is not None:
            _require_same_way(part, known, before.get("region"))
            wanted.pop("service", None)
        if "priority_map" in wanted:
            wanted["priority_map"] = self.priority_ids(wanted["priority_map"])
        for name in ("directions", "priority_map"):
            if name in wanted:
                given = {str(key): str(value) for key, value in wanted[name].items()}
                wanted[name] = {**before.get(name, {}), **given} if name == "directions" and known else given
        wanted["path"] = part["path"].value
        changes = compared(subject, before, wanted, is_new=known is None)
        if "routing_key" in part:
            has_key = standing is not None and standing.key.is_set
            stored = self._connectors.routing_key(known.id) if known and has_key else None
            changes += self._compared_secret(subject, "routing_key", part["routing_key"], stored)
        return changes

    def _plan_preset(self, part: Parts) -> list[Change]:
        known = self._routing.preset_by_name(part["name"])
        if known is not None and known.is_builtin:
            raise InvalidRequestError(f"The preset {part['name']} is built in and stays as it is.", "presets")
        if known is not None and (known.path, known.entity) != (part["path"], part["entity"]):
            raise InvalidRequestError(
                f"The preset {part['name']} is for {known.entity} and {known.path}, which cannot change.", "presets"
            )
        self._preset_changes.check(part["path"], part["entity"], part["templates"])
        wanted = {"path": part["path"].value, "entity": part["entity"], "templates": part["templates"]}
        before = preset_part(known) if known else {}
        return compared(f"preset {part['name']}", before, wanted, is_new=known is None)

    def _plan_rule(self, part: Parts, parts: Parts) -> list[Change]:
        known = self._routing.rule_by_name(part["name"])
        if known is not None and known.source != part["source"]:
            raise InvalidRequestError(f"The rule {part['name']} is for {known.source}, which cannot change.", "rules")
        if known is None and not part.get("destinations"):
            raise InvalidRequestError(f"The rule {part['name']} needs a destination.", "rules")
        wanted = {name: part[name] for name in RULE_FIELDS if name in part}
        if "condition" in wanted:
            wanted["condition"] = _checked_condition(part["name"], wanted["condition"])
        if "destinations" in wanted:
            wanted["destinations"] = [self._named(each, part["source"], parts) for each in part["destinations"]]
            # The store keeps destinations by connector; their order means nothing for a rule.
            wanted["destinations"].sort(key=lambda each: each["connector"])
        before = self.rule_part(known) if known else {}
        return compared(f"routing rule {part['name']}", before, wanted, is_new=known is None)

    def _named(self, given: Parts, source: str, parts: Parts) -> dict[str, str | None]:
        """A destination by names that are there, or will be; without a preset the built-in one."""
        coming = {part["name"]: part["path"] for part in parts["connectors"]}
        connector = self._connectors.by_name(given["connector"])
        path = connector.path if connector else coming.get(given["connector"])
        if path is None:
            raise InvalidRequestError(f"There is no connector named {given['connector']}.", "rules")
        preset = given["preset"]
        if preset is None:
            builtin = [
                one for one in self._preset_changes.all() if one.is_builtin and (one.path, one.entity) == (path, source)
            ]
            preset = builtin[0].name if builtin else None
        elif self._routing.preset_by_name(preset) is None and preset not in {one["name"] for one in parts["presets"]}:
            raise InvalidRequestError(f"There is no preset named {preset}.", "rules")
        return {"connector": given["connector"], "preset": preset}

    def _plan_order(self, rules: Sequence[Parts]) -> list[Change]:
        names = [rule.name for rule in self._rule_changes.all()]
        wanted = [part["name"] for part in rules if part["name"] in names]
        now = [name for name in names if name in wanted]
        return [] if now == wanted else [Change("routing rules", "order", now, wanted)]

    def _compared_secret(self, subject: str, field: str, place: Mapping[str, str], stored: str | None) -> list[Change]:
        given = secret(place, f"{subject}.{field}", self._environment)
        if given == stored:
            return []
        return [Change(subject, field, end_of(stored), end_of(given), is_new=stored is None)]

    def priority_ids(self, given: Mapping[Any, str]) -> dict[str, str]:
        """Priorities may be given by the account's names for them."""
        integration = self._integrations.only()
        ids = {one.name: one.id for one in reversed(integration.priorities)} if integration else {}
        return {str(name): ids.get(value, value) for name, value in given.items()}

    def rule_part(self, rule: RoutingRule) -> dict[str, Any]:
        """A rule as a text has it, with names in place of ids."""
        connectors = {one.id: one.name for one in self._connectors.list_all()}
        presets = {one.id: one.name for one in self._routing.presets()}
        destinations = [
            {"connector": connectors[each.connector_id], "preset": presets[each.preset_id]}
            for each in rule.destinations
        ]
        return {
            "source": rule.source,
            "condition": rule.condition,
            "is_enabled": rule.is_enabled,
            "is_fallback": rule.is_fallback,
            "destinations": sorted(destinations, key=lambda each: each["connector"]),
        }

    def secret(self, part: Parts, field: str) -> str | None:
        """What stands at the place a part names, None when it names none."""
        return secret(part[field], field, self._environment) if field in part else None


def _checked_condition(rule_name: str, condition: str) -> str:
    condition = condition.strip() or "true"
    try:
        templates.check_condition(condition)
    except TemplateError as exc:
        raise InvalidRequestError(f"The condition of the rule {rule_name} has an error: {exc}.", "rules") from exc
    return condition


def _require_same_way(part: Parts, known: Connector, region: str | None) -> None:
    """The path of a connector and where it leads never change."""
    if part["path"] is not known.path:
        raise InvalidRequestError(
            f"The connector {known.name} has the path {known.path}, which cannot change.", "connectors"
        )
    service = part.get("service")
    if service is not None and service.casefold() not in (
        (known.service_id or "").casefold(),
        known.service_name.casefold(),
    ):
        raise InvalidRequestError(
            f"The connector {known.name} leads to the service {known.service_name} ({known.service_id}), which cannot "
            "change; make another connector.",
            "connectors",
        )
    if part.get("region", region) != region:
        raise InvalidRequestError(
            f"The connector {known.name} sends to {region}, which cannot change; make another connector.", "connectors"
        )
