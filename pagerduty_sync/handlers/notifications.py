"""The one-way path: from a change of a Case, or an alert, to the events each service-key connector is to be sent.

Whoever was told of the beginning is told of the rest, whatever the rules say by then. Nothing comes back to the Case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from pagerduty_sync.domain.cases import Case, CaseStatus, CaseSystem
from pagerduty_sync.domain.connectors import ConnectorPath
from pagerduty_sync.domain.deliveries import Delivery, Direction, Reason, outcome_of
from pagerduty_sync.domain.notifications import (
    NOTHING_TOLD,
    Alert,
    EventAction,
    History,
    alert_change_id,
    alert_dedup_key,
    case_change_id,
    case_dedup_key,
    refusal_of_alert,
    steps_of_case,
)
from pagerduty_sync.errors import InvalidRequestError, NotFoundError, TemplateError
from pagerduty_sync.handlers.event_text import (
    EventText,
    alert_context,
    event_of_alert,
    event_of_case,
    routing_key_of,
)
from pagerduty_sync.handlers.routing import Match, matching
from pagerduty_sync.handlers.templates import case_context
from pagerduty_sync.pagerduty.events import checked_routing_key
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.notifications import Change, NewNotification, Notifications
from pagerduty_sync.stores.routing import Routing
from pagerduty_sync.stores.service_keys import ServiceKeys

log = structlog.get_logger(__name__)

LOOKS = 5
STATUS_KINDS = ("created", "statusChanged")


class _OvertakenError(Exception):
    """Another worker has looked at the same changes meanwhile: look again."""


@dataclass(frozen=True, slots=True)
class Told:
    """What became of an alert's push: the events made, or the reason why there are none."""

    notification_ids: Sequence[int]
    reason: Reason
    detail: str = ""


class Notifier:
    """Makes notifications; sends none."""

    def __init__(
        self,
        *,
        database: Database,
        cases: CaseSystem,
        notifications: Notifications,
        deliveries: Deliveries,
        service_keys: ServiceKeys,
        connectors: Connectors,
        routing: Routing,
        match: Callable[[Case], Match],
        is_linked: Callable[[str], bool],
        case_url: str,
    ) -> None:
        self._database = database
        self._cases = cases
        self._notifications = notifications
        self._deliveries = deliveries
        self._service_keys = service_keys
        self._connectors = connectors
        self._routing = routing
        self._match = match
        self._is_linked = is_linked
        self._case_url = case_url

    # ------------------------------------------------------------ Cases

    def look(self, case_ids: Sequence[str]) -> list[int]:
        """Take in what is new on these Cases; the notifications that are to be sent because of it."""
        if self._notifications.mark_all_seen(case_ids):
            return []
        return [id_ for case_id in case_ids for id_ in self._look(case_id)]

    def look_again(self, case_id: str, cause: str) -> list[int]:
        """Look at one Case because somebody said so, new changes or not; raises NotFoundError."""
        ids: list[int] = []
        for _ in range(LOOKS):
            case = self._cases.get_case(case_id)
            ids += self._look(case.id, cause)
            if self._cases.get_case(case.id).status_changed_at == case.status_changed_at:
                break
        return ids

    def _look(self, case_id: str, cause: str = "") -> list[int]:
        for _ in range(LOOKS):
            # The changes before the Case, the Case before its history: whatever is newer than one is in the next.
            changes = self._notifications.unseen_changes(case_id)
            if not changes and not cause:
                return []
            try:
                case = self._cases.get_case(case_id)
            except NotFoundError:
                with self._database.transaction() as conn:
                    self._notifications.mark_seen(conn, [change.id for change in changes])
                return []
            told = self._notifications.told("cases", case.id)
            match = self._match(case)
            new = self._news_of(case, match, told, changes, cause)
            try:
                return self._record(case, match, told, changes, new)
            except _OvertakenError:
                continue
        log.info("case_left_to_others", case=case_id)
        return []

    def _record(
        self,
        case: Case,
        match: Match,
        told: Mapping[str, History],
        changes: Sequence[Change],
        new: Sequence[NewNotification],
    ) -> list[int]:
        # Asked before the transaction: it would need a second connection.
        tells_why = self._tells_why(case, match, told)
        with self._database.transaction() as conn:
            if not self._notifications.mark_seen(conn, [change.id for change in changes]):
                raise _OvertakenError
            ids = self._notifications.add(conn, new)
            if tells_why:
                self._deliveries.add(conn, _passed(case, told, changes, is_told=bool(ids)))
        return ids

    def _tells_why(self, case: Case, match: Match, told: Mapping[str, History]) -> bool:
        """Whether the reasons of changes that give no event are to be logged here; else the two-way path does it."""
        if case.status is CaseStatus.PENDING_ACTIVATION or match.connector is not None:
            return False
        return bool(match.one_way or told) and not self._is_linked(case.id)

    def _news_of(
        self, case: Case, match: Match, told: Mapping[str, History], changes: Sequence[Change], cause: str
    ) -> list[NewNotification]:
        presets = {connector.id: destination.preset_id for destination, connector in match.one_way}
        turns = [change for change in changes if change.kind in STATUS_KINDS] or list(changes)
        new = []
        for connector_id in [*presets, *(id_ for id_ in told if id_ not in presets)]:
            for action in steps_of_case(case.status, told.get(connector_id, NOTHING_TOLD)):
                text, key, is_gone = EventText({}), None, False
                if action is EventAction.TRIGGER:
                    text, key, is_gone = self._trigger_of_case(connector_id, presets[connector_id], case)
                if is_gone:
                    break
                turn = turns[0 if action is EventAction.TRIGGER else -1] if turns else None
                new.append(
                    NewNotification(
                        connector_id=connector_id,
                        entity="cases",
                        source_id=case.id,
                        source_name=case.name,
                        dedup_key=case_dedup_key(case.id),
                        change_id=case_change_id(action, case),
                        action=action,
                        content=text.content,
                        problem=text.problem,
                        routing_key=key,
                        occurred_at=case.status_changed_at,
                        cause=f"case_event:{turn.id}" if turn else cause,
                    )
                )
        return new

    def _trigger_of_case(self, connector_id: str, preset_id: str, case: Case) -> tuple[EventText, str | None, bool]:
        url = self._case_url.format(name=case.name)
        text = event_of_case(self._routing.preset(preset_id), case, url)
        return self._with_key(connector_id, text, case_context(case, url))

    # ------------------------------------------------------------ alerts

    def tell_alert(self, conn: Connection, alert: Alert, body: bytes, cause: str) -> Told:
        """What a push asks for, to every connector it concerns. The caller holds the alert's lock and marks the push."""
        told = self._notifications.told("alerts", alert.id, conn)
        presets, problems = self._alert_destinations(alert) if alert.action is EventAction.TRIGGER else ({}, [])
        concerned = list(presets) if alert.action is EventAction.TRIGGER else list(told)
        ids: list[int] = []
        refusals: list[Reason] = []
        for connector_id in concerned:
            history = told.get(connector_id, NOTHING_TOLD)
            refusal = refusal_of_alert(alert, history)
            if refusal is not None:
                refusals.append(refusal)
                continue
            text, key, is_gone = EventText({}), None, False
            if alert.action is EventAction.TRIGGER:
                text = event_of_alert(self._routing.preset(presets[connector_id]), alert)
                text, key, is_gone = self._with_key(connector_id, text, alert_context(alert))
            if is_gone:
                continue
            ids += self._notifications.add(
                conn,
                [
                    NewNotification(
                        connector_id=connector_id,
                        entity="alerts",
                        source_id=alert.id,
                        source_name=alert.name,
                        dedup_key=alert_dedup_key(alert.id),
                        change_id=alert_change_id(alert.action, body, history),
                        action=alert.action,
                        content=text.content,
                        problem=text.problem,
                        routing_key=key,
                        occurred_at=alert.occurred_at,
                        cause=cause,
                    )
                ],
            )
        detail = "; ".join(problems)
        if ids:
            return Told(ids, Reason.APPLIED, detail)
        if refusals:
            return Told([], refusals[0], detail)
        if concerned:
            return Told([], Reason.DUPLICATE, detail)
        return Told([], Reason.NO_ROUTE if alert.action is EventAction.TRIGGER else Reason.NOT_OPEN, detail)

    def _alert_destinations(self, alert: Alert) -> tuple[dict[str, str], list[str]]:
        """Preset by connector, for every rule that is true of the alert; and the rules that cannot be read."""
        rules, problems = matching(self._routing.rules("alerts"), alert_context(alert))
        found: dict[str, str] = {}
        for rule in rules:
            for destination in rule.destinations:
                connector = self._connectors.by_id(destination.connector_id)
                # An alert has no incident of its own: the two-way path is for Cases.
                if connector is not None and connector.path is ConnectorPath.SERVICE_KEY:
                    found.setdefault(connector.id, destination.preset_id)
        return found, problems

    def _with_key(
        self, connector_id: str, text: EventText, context: Mapping[str, Any]
    ) -> tuple[EventText, str | None, bool]:
        """The event with the key its connector's template yields, None for the connector's own; and whether it is gone."""
        try:
            connector = self._service_keys.of(connector_id)
        except NotFoundError:
            return text, None, True
        if connector.key_template is None:
            return text, None, False
        try:
            return text, checked_routing_key(routing_key_of(connector.key_template, context)), False
        except (TemplateError, InvalidRequestError) as exc:
            own = "so the connector's own key was used" if connector.has_key else "and there is no other key"
            problem = f"The template of the routing key failed, {own} ({exc})"
            return EventText(text.content, "; ".join(filter(None, (text.problem, problem)))), None, False


def _passed(
    case: Case, told: Mapping[str, History], changes: Sequence[Change], *, is_told: bool
) -> list[Delivery]:
    """One row for each change that gives no event, with its reason."""
    rows = []
    for change in changes:
        if change.kind not in STATUS_KINDS:
            reason = Reason.NO_EQUIVALENT
        elif is_told:
            continue
        elif not told:
            reason = Reason.NOT_OPEN
        else:
            reason = Reason.NO_EQUIVALENT if case.status is CaseStatus.ACTIVE else Reason.IN_STEP
        rows.append(
            Delivery(
                Direction.OUTBOUND,
                change.kind,
                outcome_of(reason),
                reason,
                case_id=case.id,
                case_name=case.name,
                cause=f"case_event:{change.id}",
            )
        )
    return rows
