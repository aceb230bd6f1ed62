"""Configuration as code: what is set up as a text, what a text would change, and making it so."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pagerduty_sync.domain.connectors import ConnectorPath, Destination, RoutingRule
from pagerduty_sync.handlers.accounts import Accounts
from pagerduty_sync.handlers.configuration import Configuration
from pagerduty_sync.handlers.configuration_parts import (
    Change,
    Parts,
    connector_part,
    integration_part,
    preset_part,
    variable_of,
)
from pagerduty_sync.handlers.configuration_plan import RULE_FIELDS, ConfigurationPlan
from pagerduty_sync.handlers.configuration_text import read, write
from pagerduty_sync.handlers.connector_changes import ConnectorChanges
from pagerduty_sync.handlers.preset_changes import PresetChanges
from pagerduty_sync.handlers.rule_changes import RuleChanges
from pagerduty_sync.handlers.service_keys import ServiceKeyConnectors
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.routing import Routing


class ConfigurationFile:
    """Goes through the same use cases as everybody else, so that all is checked and audited as always."""

    def __init__(
        self,
        *,
        plan: ConfigurationPlan,
        accounts: Accounts,
        configuration: Configuration,
        service_key_connectors: ServiceKeyConnectors,
        connector_changes: ConnectorChanges,
        preset_changes: PresetChanges,
        rule_changes: RuleChanges,
        connectors: Connectors,
        routing: Routing,
    ) -> None:
        self._plan = plan
        self._accounts = accounts
        self._configuration = configuration
        self._service_key_connectors = service_key_connectors
        self._connector_changes = connector_changes
        self._preset_changes = preset_changes
        self._rule_changes = rule_changes
        self._connectors = connectors
        self._routing = routing

    def export_text(self) -> str:
        """Everything that is set up; in place of a secret stands a variable of the environment, to be set."""
        parts: dict[str, Any] = {}
        for standing in self._accounts.all():
            parts["integration"] = integration_part(standing) | {"api_key": {"env": "PAGERDUTY_API_KEY"}}
        parts["connectors"] = [
            {
                "name": one.connector.name,
                **connector_part(one.connector, one.key),
                **({"routing_key": {"env": variable_of(one.connector.name)}} if one.key.is_set else {}),
            }
            for one in self._connector_changes.all()
        ]
        parts["presets"] = [
            {"name": one.name, **preset_part(one)} for one in self._preset_changes.all() if not one.is_builtin
        ]
        parts["rules"] = [{"name": one.name, **self._plan.rule_part(one)} for one in self._rule_changes.all()]
        return write(parts)

    def plan(self, text: str) -> list[Change]:
        """What applying this text would change, field by field; empty when everything is so already.

        Raises InvalidRequestError, naming what to correct; SecretError when a stored secret cannot be compared.
        """
        return self._plan.of(read(text))

    def apply(self, text: str, who: str) -> list[Change]:
        """Make it so, and return what was changed. Stops at the first thing that is refused; may be repeated.

        Raises what `plan` raises, and any PagerDutyError.
        """
        parts = read(text)
        changes = self._plan.of(parts)
        changed = {change.subject for change in changes}
        if "integration" in changed:
            self._apply_integration(parts["integration"], who)
        for part in parts["connectors"]:
            if f"connector {part['name']}" in changed:
                self._apply_connector(part, who)
        for part in parts["presets"]:
            if f"preset {part['name']}" in changed:
                self._apply_preset(part, who)
        for part in parts["rules"]:
            if f"routing rule {part['name']}" in changed:
                self._apply_rule(part, who)
        if "routing rules" in changed:
            self._apply_order(parts["rules"], who)
        return changes

    # ------------------------------------------------------------ making it so

    def _apply_integration(self, part: Parts, who: str) -> None:
        given = {name: value for name, value in part.items() if name != "api_key"}
        api_key = self._plan.secret(part, "api_key")
        known = next(iter(self._accounts.all()), None)
        if known is not None:
            changes = given | ({"api_key": api_key} if api_key else {})
            self._accounts.reconnect(known.integration.id, changes, who=who)
            return
        defaults = {"email": "", "region": "us", "is_two_way": False, "consent": False}
        self._accounts.connect(**{**defaults, **given}, api_key=api_key or "", who=who)

    def _apply_connector(self, part: Parts, who: str) -> None:
        known = self._connectors.by_name(part["name"])
        given = {name: value for name, value in part.items() if name not in ("name", "path", "routing_key")}
        if "priority_map" in given:
            given["priority_map"] = self._plan.priority_ids(given["priority_map"])
        routing_key = self._plan.secret(part, "routing_key")
        if known is not None:
            for fixed in ("service", "region"):
                given.pop(fixed, None)
            keyed = given | ({"routing_key": routing_key} if routing_key else {})
            self._connector_changes.update(known.id, **keyed, who=who)
        elif part["path"] is ConnectorPath.SERVICE_KEY:
            self._service_key_connectors.create_service_key_connector(
                part["name"], **given, routing_key=routing_key, who=who
            )
        else:
            self._configuration.create_connector(part["name"], given.pop("service", ""), **given, who=who)

    def _apply_preset(self, part: Parts, who: str) -> None:
        known = self._routing.preset_by_name(part["name"])
        if known is None:
            self._preset_changes.create(part["name"], part["path"], part["entity"], part["templates"], who=who)
        else:
            self._preset_changes.update(known.id, name=part["name"], templates=part["templates"], who=who)

    def _apply_rule(self, part: Parts, who: str) -> None:
        given = {name: part[name] for name in RULE_FIELDS if name in part}
        if "destinations" in given:
            given["destinations"] = tuple(self._destination(each) for each in given["destinations"])
        known = self._routing.rule_by_name(part["name"])
        if known is not None:
            given.pop("source")
            self._rule_changes.update(known.id, given, who=who)
            return
        defaults = {"condition": "true", "destinations": ()}
        self._rule_changes.create(RoutingRule(id="", name=part["name"], **{**defaults, **given}), who=who)

    def _apply_order(self, rules: Sequence[Parts], who: str) -> None:
        """The rules of the text take their places among themselves; all others keep theirs."""
        now = self._rule_changes.all()
        ids = {rule.name: rule.id for rule in now}
        wanted = iter([ids[part["name"]] for part in rules])
        named = {part["name"] for part in rules}
        self._rule_changes.reorder([next(wanted) if rule.name in named else rule.id for rule in now], who=who)

    def _destination(self, given: Mapping[str, Any]) -> Destination:
        connector = self._connectors.by_name(given["connector"])
        preset = self._routing.preset_by_name(given["preset"]) if given["preset"] else None
        # The plan has found both names, so what is missing now was deleted meanwhile, and the rule says so.
        return Destination(connector.id if connector else given["connector"], preset.id if preset else "")
