"""Routing rules as administrators keep them: checked, changed, put in order, and tried on a Case."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.cases import Case
from pagerduty_sync.domain.connectors import ConnectorPath, Destination, RoutingRule
from pagerduty_sync.domain.samples import SAMPLE_ALERT, SAMPLE_CASE
from pagerduty_sync.errors import InvalidRequestError, NotFoundError, TemplateError
from pagerduty_sync.handlers import templates
from pagerduty_sync.handlers.accounts import checked_name
from pagerduty_sync.handlers.event_text import alert_context
from pagerduty_sync.handlers.routing import Match, Router
from pagerduty_sync.handlers.templates import case_context
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.routing import Routing
from pagerduty_sync.stores.routing_edits import RoutingEdits

CASES, ALERTS = "cases", "alerts"

TWO_MATCHES = (
    "All rules that are true fire. A Case opens at most one incident: through the first bi-directional connector that "
    "the rules lead to, in the order of the list. Fallback rules fire only when no other rule does."
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What one rule says of one Case, and in words why."""

    rule: RoutingRule
    is_true: bool
    fires: bool
    why: str


@dataclass(frozen=True, slots=True)
class Trial:
    """All rules and one Case: what each says, and where the Case's incident would be opened."""

    verdicts: Sequence[Verdict]
    match: Match


class RuleChanges:
    def __init__(
        self,
        *,
        database: Database,
        routing: Routing,
        edits: RoutingEdits,
        connectors: Connectors,
        router: Router,
        audit: Audit,
        case_url: Callable[[str], str],
    ) -> None:
        self._database = database
        self._routing = routing
        self._edits = edits
        self._connectors = connectors
        self._router = router
        self._audit = audit
        self._case_url = case_url

    def all(self) -> list[RoutingRule]:
        """Every rule, in order."""
        return self._routing.rules()

    def get(self, rule_id: str) -> RoutingRule:
        """Raises NotFoundError."""
        rule = next((rule for rule in self._routing.rules() if rule.id == rule_id), None)
        if rule is None:
            raise NotFoundError(f"There is no routing rule {rule_id}.")
        return rule

    def create(self, rule: RoutingRule, *, who: str) -> RoutingRule:
        """Behind all others; its id counts for nothing. A destination without a preset gets the built-in one.

        Raises InvalidRequestError, naming the field.
        """
        rule = self._checked(rule)
        with self._database.transaction() as conn:
            made = self._routing.create_rule(
                rule.name,
                rule.source,
                rule.condition,
                rule.destinations,
                is_enabled=rule.is_enabled,
                is_fallback=rule.is_fallback,
                connection=conn,
            )
            self._audit.add(conn, who, "create", f"routing rule {made.name}", None, self._facts(made))
        return made

    def update(self, rule_id: str, changes: Mapping[str, Any], *, who: str) -> RoutingRule:
        """Change what is given; the source stays. Raises NotFoundError, InvalidRequestError."""
        before = self.get(rule_id)
        rule = self._checked(replace(before, **changes))
        other = self._routing.rule_by_name(rule.name)
        if other is not None and other.id != rule_id:
            raise InvalidRequestError(f"There is a routing rule named {rule.name} already.", "name")
        with self._database.transaction() as conn:
            self._edits.update_rule(
                rule_id,
                name=rule.name,
                condition=rule.condition,
                destinations=rule.destinations,
                is_enabled=rule.is_enabled,
                is_fallback=rule.is_fallback,
                connection=conn,
            )
            after = self._routing.rule_by_name(rule.name, conn)
            assert after is not None
            if after != before:
                facts = self._facts(before), self._facts(after)
                self._audit.add(conn, who, "update", f"routing rule {after.name}", *facts)
        return after

    def delete(self, rule_id: str, *, who: str) -> None:
        """Links that were opened through it stay. Raises NotFoundError."""
        rule = self.get(rule_id)
        with self._database.transaction() as conn:
            self._edits.delete_rule(rule_id, conn)
            self._audit.add(conn, who, "delete", f"routing rule {rule.name}", self._facts(rule), None)

    def reorder(self, rule_ids: Sequence[str], *, who: str) -> list[RoutingRule]:
        """Put the rules in this order; raises InvalidRequestError unless each of them is named once."""
        before = self._routing.rules()
        if sorted(rule_ids) != sorted(rule.id for rule in before):
            raise InvalidRequestError("Name every routing rule there is, each once.", "rule_ids")
        names = {rule.id: rule.name for rule in before}
        with self._database.transaction() as conn:
            self._edits.order_rules(rule_ids, conn)
            order = [names[id_] for id_ in rule_ids]
            if order != [rule.name for rule in before]:
                facts = {"order": [rule.name for rule in before]}, {"order": order}
                self._audit.add(conn, who, "reorder", "routing rules", *facts)
        return self._routing.rules()

    def try_on(self, case: Case) -> Trial:
        """What every rule for Cases says of this one; changes nothing."""
        context = case_context(case, self._case_url(case.name))
        match = self._router.match(case)
        firing = {rule.id for rule in match.rules}
        verdicts = [_verdict(rule, context, rule.id in firing) for rule in self._routing.rules(CASES)]
        return Trial(verdicts, match)

    def warnings(self, rule: RoutingRule) -> list[str]:
        """What a rule will not do as one might expect."""
        context = self._sample(rule.source)
        try:
            templates.evaluate(rule.condition, context)
        except TemplateError as exc:
            return [
                f"For the sample the condition cannot be decided: {exc}. A rule that cannot be decided never fires."
            ]
        return []

    # ------------------------------------------------------------ steps

    def _checked(self, rule: RoutingRule) -> RoutingRule:
        """The rule as it is stored; raises InvalidRequestError."""
        condition = texts.storable(rule.condition, "condition").strip() or "true"
        try:
            templates.check_condition(condition)
        except TemplateError as exc:
            raise InvalidRequestError(f"The condition has an error: {exc}.", "condition") from exc
        if not rule.destinations:
            raise InvalidRequestError("A rule needs at least one destination.", "destinations")
        if len({each.connector_id for each in rule.destinations}) < len(rule.destinations):
            raise InvalidRequestError("A rule may name each connector once.", "destinations")
        self._routing.ensure_builtin_presets()
        destinations = tuple(self._destination(rule.source, each) for each in rule.destinations)
        return replace(rule, name=checked_name(rule.name), condition=condition, destinations=destinations)

    def _destination(self, source: str, given: Destination) -> Destination:
        connector = self._connectors.by_id(given.connector_id)
        if connector is None:
            raise InvalidRequestError(f"There is no connector {given.connector_id}.", "destinations")
        if source == ALERTS and connector.path is ConnectorPath.BIDIRECTIONAL:
            raise InvalidRequestError(
                f"Alerts go through connectors with the path service_key only; {connector.name} is bidirectional.",
                "destinations",
            )
        if not given.preset_id:
            return Destination(connector.id, self._builtin(connector.path, source))
        preset = self._routing.preset(given.preset_id)
        if preset is None:
            raise InvalidRequestError(f"There is no preset {given.preset_id}.", "destinations")
        if (preset.path, preset.entity) != (connector.path, source):
            raise InvalidRequestError(
                f"The preset {preset.name} is for {preset.entity} and the path {preset.path}; the connector "
                f"{connector.name} has {connector.path}, and the rule is for {source}.",
                "destinations",
            )
        return Destination(connector.id, preset.id)

    def _builtin(self, path: ConnectorPath, source: str) -> str:
        fitting = [
            one for one in self._routing.presets() if one.is_builtin and (one.path, one.entity) == (path, source)
        ]
        if not fitting:
            raise InvalidRequestError(f"No built-in preset is for {source} and {path}; name one.", "destinations")
        return fitting[0].id

    def _sample(self, source: str) -> dict[str, Any]:
        if source == ALERTS:
            return alert_context(SAMPLE_ALERT)
        return case_context(SAMPLE_CASE, self._case_url(SAMPLE_CASE.name))

    def _facts(self, rule: RoutingRule) -> dict[str, object]:
        connectors = {one.id: one.name for one in self._connectors.list_all()}
        presets = {one.id: one.name for one in self._routing.presets()}
        return {
            "name": rule.name,
            "source": rule.source,
            "condition": rule.condition,
            "is_enabled": rule.is_enabled,
            "is_fallback": rule.is_fallback,
            "destinations": [
                [connectors.get(each.connector_id), presets.get(each.preset_id)] for each in rule.destinations
            ],
        }


def _verdict(rule: RoutingRule, context: Mapping[str, Any], fires: bool) -> Verdict:
    if not rule.is_enabled:
        return Verdict(rule, False, False, "The rule is switched off.")
    try:
        is_true = templates.evaluate(rule.condition, context)
    except TemplateError as exc:
        return Verdict(rule, False, False, f"The condition cannot be decided: {exc}.")
    if not is_true:
        return Verdict(rule, False, False, f"{rule.condition} is not true of this Case.")
    if not fires:
        return Verdict(rule, True, False, "A fallback rule fires only when no other rule does, and another one did.")
    return Verdict(rule, True, True, f"{rule.condition} is true of this Case.")
