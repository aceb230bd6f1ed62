"""The one-way path: from a change of a Case to the events that each service-key connector is to be sent.

Whoever was told of the beginning is told of the rest, whatever the rules say by then. Nothing comes back to the Case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import structlog

from pagerduty_sync.domain.cases import Case, CaseStatus, CaseSystem
from pagerduty_sync.domain.deliveries import Delivery, Direction, Reason, outcome_of
from pagerduty_sync.domain.notifications import (
    NOTHING_TOLD,
    EventAction,
    History,
    case_change_id,
    case_dedup_key,
    steps_of_case,
)
from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.handlers.event_text import Trigger, Triggers
from pagerduty_sync.handlers.routing import Match
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.deliveries import Deliveries
from pagerduty_sync.stores.notifications import Change, NewNotification, Notifications

log = structlog.get_logger(__name__)

LOOKS = 5
STATUS_KINDS = ("created", "statusChanged")


class _OvertakenError(Exception):
    """Another worker has looked at the same changes meanwhile: look again."""


class Notifier:
    """Makes notifications of Cases; sends none."""

    def __init__(
        self,
        *,
        database: Database,
        cases: CaseSystem,
        notifications: Notifications,
        deliveries: Deliveries,
        triggers: Triggers,
        match: Callable[[Case], Match],
        is_linked: Callable[[str], bool],
    ) -> None:
        self._database = database
        self._cases = cases
        self._notifications = notifications
        self._deliveries = deliveries
        self._triggers = triggers
        self._match = match
        self._is_linked = is_linked

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
                is_trigger = action is EventAction.TRIGGER
                trigger = self._triggers.of_case(connector_id, presets[connector_id], case) if is_trigger else Trigger()
                turn = turns[0 if is_trigger else -1] if turns else None
                new.append(
                    NewNotification(
                        connector_id=connector_id,
                        entity="cases",
                        source_id=case.id,
                        source_name=case.name,
                        dedup_key=case_dedup_key(case.id),
                        change_id=case_change_id(action, case),
                        action=action,
                        content=trigger.content,
                        problem=trigger.problem,
                        routing_key=trigger.routing_key,
                        occurred_at=case.status_changed_at,
                        cause=f"case_event:{turn.id}" if turn else cause,
                    )
                )
        return new


def _passed(case: Case, told: Mapping[str, History], changes: Sequence[Change], *, is_told: bool) -> list[Delivery]:
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
