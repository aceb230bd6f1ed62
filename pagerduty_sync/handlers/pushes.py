"""Coralogix's pushes at work: a Case's is a hint to look at the Case, an alert's is told to whom the rules say.

The pushes of one alert are handled in the order they came, by one worker at a time. Alerts only go one way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from pagerduty_sync.coralogix.pushes import read_alert_push
from pagerduty_sync.domain.cases import CaseSystem
from pagerduty_sync.domain.connectors import ConnectorPath
from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason, outcome_of
from pagerduty_sync.domain.notifications import (
    NOTHING_TOLD,
    Alert,
    EventAction,
    alert_change_id,
    alert_dedup_key,
    refusal_of_alert,
)
from pagerduty_sync.errors import NotFoundError, PayloadError
from pagerduty_sync.handlers.event_text import Trigger, Triggers, alert_context
from pagerduty_sync.handlers.routing import matching
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.database import Connection, Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.notifications import NewNotification, Notifications
from pagerduty_sync.stores.pushes import Push, Pushes
from pagerduty_sync.stores.routing import Routing

CASES, ALERTS = "cases", "alerts"


@dataclass(frozen=True, slots=True)
class Taken:
    """What pushes have set going: Cases to route again, and notifications to send."""

    case_ids: list[str] = field(default_factory=list)
    notification_ids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Told:
    """What became of one alert's push: the notifications made, or the reason why there are none."""

    notification_ids: Sequence[int]
    reason: Reason
    detail: str = ""


class PushReader:
    def __init__(
        self,
        *,
        database: Database,
        pushes: Pushes,
        cases: CaseSystem,
        look_again: Callable[[str, str], list[int]],
        notifications: Notifications,
        triggers: Triggers,
        routing: Routing,
        connectors: Connectors,
        deliveries: Deliveries,
    ) -> None:
        self._database = database
        self._pushes = pushes
        self._cases = cases
        self._look_again = look_again
        self._notifications = notifications
        self._triggers = triggers
        self._routing = routing
        self._connectors = connectors
        self._deliveries = deliveries

    def take(self, push_ids: Sequence[int]) -> Taken:
        """Handle these pushes, and with them whatever else was pushed about the same Cases and alerts.

        Those that are handled already are passed over, so a second run does nothing.
        """
        taken = Taken()
        for entity, source_id in self._pushes.sources(push_ids):
            if entity == CASES:
                self._take_hint(source_id, taken)
            else:
                taken.notification_ids.extend(self._take_alert(source_id))
        return taken

    def _take_hint(self, source_id: str, taken: Taken) -> None:
        """Nothing a Case's push says is believed: the Case itself is read."""
        try:
            case = self._cases.get_case(source_id)
            taken.notification_ids.extend(self._look_again(case.id, "push"))
            taken.case_ids.append(case.id)
            hint = Delivery(Direction.INBOUND, "case_push", Outcome.DELIVERED, Reason.CHECKED)
            hint = replace(hint, case_id=case.id, case_name=case.name)
        except NotFoundError as exc:
            hint = Delivery(Direction.INBOUND, "case_push", Outcome.IGNORED, Reason.NOT_FOUND, str(exc))
        with self._database.transaction() as conn:
            for push in self._pushes.claim(conn, CASES, source_id):
                self._finish(conn, push, hint)

    def _take_alert(self, source_id: str) -> list[int]:
        ids: list[int] = []
        with self._database.transaction() as conn:
            for push in self._pushes.claim(conn, ALERTS, source_id):
                try:
                    told = self._tell(conn, read_alert_push(push.body), push)
                except PayloadError as exc:
                    # It could be read when it was accepted, by another version.
                    told = _Told([], Reason.UNREADABLE, str(exc))
                ids += told.notification_ids
                row = Delivery(Direction.INBOUND, "alert_push", outcome_of(told.reason), told.reason, told.detail)
                self._finish(conn, push, replace(row, event_id=alert_dedup_key(source_id)))
        return ids

    def _finish(self, conn: Connection, push: Push, row: Delivery) -> None:
        self._pushes.mark_done(conn, push.id, row.reason.value)
        self._deliveries.add(conn, [replace(row, cause=f"push:{push.id}")])

    def _tell(self, conn: Connection, alert: Alert, push: Push) -> _Told:
        """What a push asks for, to every connector it concerns: who was told of the beginning is told of the end."""
        told = self._notifications.told(ALERTS, alert.id, conn)
        is_trigger = alert.action is EventAction.TRIGGER
        presets, problems = self._destinations(alert) if is_trigger else (dict.fromkeys(told, ""), [])
        new: list[NewNotification] = []
        refusals: list[Reason] = []
        for connector_id, preset_id in presets.items():
            history = told.get(connector_id, NOTHING_TOLD)
            refusal = refusal_of_alert(alert, history)
            if refusal is not None:
                refusals.append(refusal)
                continue
            trigger = self._triggers.of_alert(connector_id, preset_id, alert) if is_trigger else Trigger()
            new.append(
                NewNotification(
                    connector_id=connector_id,
                    entity=ALERTS,
                    source_id=alert.id,
                    source_name=alert.name,
                    dedup_key=alert_dedup_key(alert.id),
                    change_id=alert_change_id(alert.action, push.body, history),
                    action=alert.action,
                    content=trigger.content,
                    problem=trigger.problem,
                    routing_key=trigger.routing_key,
                    occurred_at=alert.occurred_at,
                    cause=f"push:{push.id}",
                )
            )
        ids = self._notifications.add(conn, new)
        detail = "; ".join(problems)
        if ids:
            return _Told(ids, Reason.APPLIED, detail)
        if new:
            return _Told([], Reason.DUPLICATE, detail)
        if refusals:
            return _Told([], refusals[0], detail)
        return _Told([], Reason.NO_ROUTE if is_trigger else Reason.NOT_OPEN, detail)

    def _destinations(self, alert: Alert) -> tuple[dict[str, str], list[str]]:
        """Preset by connector, for every rule that is true of the alert; and the rules that cannot be read."""
        rules, problems = matching(self._routing.rules(ALERTS), alert_context(alert))
        found: dict[str, str] = {}
        for rule in rules:
            for destination in rule.destinations:
                connector = self._connectors.by_id(destination.connector_id)
                if connector is not None and connector.path is ConnectorPath.SERVICE_KEY:
                    found.setdefault(connector.id, destination.preset_id)
        return found, problems
