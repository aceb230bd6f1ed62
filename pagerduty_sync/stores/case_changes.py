"""Everything that can happen to a Case, each change written whole: the Case, its timeline, and a row for the sync.

One object stands for one transaction and one actor. It holds the Case's row lock from the first look to the commit,
so two changes of a Case happen one after the other. It refuses to know who is told afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from pagerduty_sync.domain import texts
from pagerduty_sync.domain.cases import TRANSITIONS, Actor, Case, CaseCategory, CasePriority, CaseStatus, TimelineEvent
from pagerduty_sync.errors import InvalidRequestError, TransitionError
from pagerduty_sync.stores import case_writes
from pagerduty_sync.stores.case_rows import UUID, no_such_case, pairs_json
from pagerduty_sync.stores.case_writes import Content
from pagerduty_sync.stores.database import Connection

Pairs = Mapping[str, Sequence[str]]


class CaseChanges:
    """Changes of Cases by one actor in one open transaction. Asking for what already is changes and records nothing.

    Every method raises NotFoundError for an unknown Case, TransitionError for what its state forbids and
    InvalidRequestError for a text it cannot take.
    """

    def __init__(self, connection: Connection, actor: Actor) -> None:
        self._connection = connection
        self._actor = actor

    def lock(self, case_ids: Sequence[str]) -> list[str]:
        """Lock several Cases before changing the first, and return their ids in the order asked for, each once."""
        found = case_writes.lock_cases(self._connection, case_ids)
        for case_id in case_ids:
            if case_id not in found and case_id.lower() not in found:
                raise no_such_case(case_id)
        return list(dict.fromkeys(found.get(case_id) or found[case_id.lower()] for case_id in case_ids))

    def current(self, case_id: str) -> Case:
        """The Case as it stands in this transaction, locked."""
        return self._locked(case_id)[0]

    def create(
        self,
        title: str,
        priority: CasePriority,
        category: CaseCategory = CaseCategory.AVAILABILITY,
        *,
        description: str = "",
        labels: Pairs | None = None,
        groupings: Pairs | None = None,
        activate: bool = True,
    ) -> Case:
        columns = {
            "title": texts.clean(title, "title", texts.LONGEST_TITLE),
            "description": texts.optional(description, "description", texts.LONGEST_DESCRIPTION),
            "priority": CasePriority(priority),
            "category": CaseCategory(category),
            "labels": pairs_json(texts.clean_pairs(labels or {}, "labels")),
            "groupings": pairs_json(texts.clean_pairs(groupings or {}, "groupings")),
            "status": CaseStatus.ACTIVE if activate else CaseStatus.PENDING_ACTIVATION,
            "readable_id": case_writes.next_readable_id(self._connection) if activate else None,
        }
        case = case_writes.insert_case(self._connection, columns)
        self._record(case, case.created_at, ("created", {"priority": case.priority}))
        return case

    def activate(self, case_id: str) -> Case:
        """PENDING_ACTIVATION to ACTIVE; the Case gets its readable id."""
        return self._move(case_id, CaseStatus.ACTIVE, only_from=CaseStatus.PENDING_ACTIVATION)

    def acknowledge(self, case_id: str) -> Case:
        return self._move(case_id, CaseStatus.ACKNOWLEDGED)

    def unacknowledge(self, case_id: str) -> Case:
        return self._move(case_id, CaseStatus.ACTIVE, only_from=CaseStatus.ACKNOWLEDGED)

    def resolve(self, case_id: str, reason: str | None = None) -> Case:
        """Resolve with an optional reason; a blank one counts as none."""
        text = texts.optional(reason or "", "reason", texts.LONGEST_RESOLUTION_REASON)
        return self._move(case_id, CaseStatus.RESOLVED, reason=text or None)

    def close(self, case_id: str) -> Case:
        return self._move(case_id, CaseStatus.CLOSED)

    def rename(self, case_id: str, title: str) -> Case:
        title = texts.clean(title, "title", texts.LONGEST_TITLE)
        case, at = self._locked(case_id)
        if case.title == title:
            return case
        return self._save(replace(case, title=title), at, ("titleChangedEvent", {"from": case.title, "to": title}))

    def set_resolution_reason(self, case_id: str, reason: str) -> Case:
        """Only of a Case that is RESOLVED, not before and not after."""
        reason = texts.clean(reason, "resolutionReason", texts.LONGEST_RESOLUTION_REASON)
        case, at = self._locked(case_id)
        if case.resolution_reason == reason:
            return case
        if case.status is not CaseStatus.RESOLVED:
            raise TransitionError(
                f"{case.name} is {case.status}; its resolution reason can be set only while RESOLVED."
            )
        changed = replace(case, resolution_reason=reason, resolution_changed_at=at, changed_by=self._actor)
        return self._save(changed, at, _reason_changed(case.resolution_reason, reason))

    def override_priority(self, case_id: str, priority: CasePriority | None) -> Case:
        """Set the override, or clear it with None; only while the Case is open."""
        case, at = self._locked(case_id)
        if case.override_priority == priority:
            return case
        if not case.status.is_open:
            raise TransitionError(f"{case.name} is {case.status}; its priority can be overridden only while open.")
        override = CasePriority(priority) if priority else None
        changed = replace(case, override_priority=override, priority_changed_at=at)
        return self._save(changed, at, _priority_changed(case, changed))

    def set_system_priority(self, case_id: str, priority: CasePriority) -> Case:
        """What the Case's own source says; an override, if there is one, goes on to count."""
        case, at = self._locked(case_id)
        if case.system_priority == priority:
            return case
        if case.status in (CaseStatus.RESOLVED, CaseStatus.CLOSED):
            raise TransitionError(f"{case.name} is {case.status}; its priority no longer changes.")
        changed = replace(case, system_priority=CasePriority(priority))
        if changed.priority != case.priority:
            changed = replace(changed, priority_changed_at=at)
        return self._save(changed, at, _priority_changed(case, changed))

    def assign(self, case_id: str, user_id: str) -> Case:
        if not UUID.fullmatch(user_id):
            raise InvalidRequestError("userId must be a UUID.", "userId")
        case, at = self._locked(case_id)
        user_id, previous = user_id.lower(), case.assignee_user_id
        if previous == user_id:
            return case
        content = {"assigneeUserId": user_id} | ({"previousAssigneeUserId": previous} if previous else {})
        return self._save(replace(case, assignee_user_id=user_id), at, ("assigned", content))

    def unassign(self, case_id: str) -> Case:
        case, at = self._locked(case_id)
        if case.assignee_user_id is None:
            return case
        content = {"previousAssigneeUserId": case.assignee_user_id}
        return self._save(replace(case, assignee_user_id=None), at, ("unassigned", content))

    def add_comment(self, case_id: str, text: str, reference: str | None = None) -> TimelineEvent:
        """Comment on a Case in any state. Under a reference that was used on it before, returns that first comment."""
        text = texts.clean(text, "text", texts.LONGEST_COMMENT)
        case, at = self._locked(case_id)
        if reference is not None:
            texts.storable(reference, "reference")
            placed = case_writes.placed_comment(self._connection, case, reference)
            if placed is not None:
                return placed
        case_writes.save_case(self._connection, case, at)
        return self._record(case, at, ("comment", {"unsafeText": text, "attachments": []}), reference=reference)

    def update_comment(self, event_id: str, text: str) -> TimelineEvent:
        """New words for a comment; its author stays."""
        text = texts.clean(text, "text", texts.LONGEST_COMMENT)
        case, at, event = case_writes.lock_comment(self._connection, event_id)
        if event.content["unsafeText"] == text:
            return event
        return self._rewrite(case, at, event, "comment", {**event.content, "unsafeText": text}, "commentUpdated")

    def delete_comment(self, event_id: str) -> str:
        """Take a comment off the timeline and return its Case's id.

        An empty row stays behind, so that nothing is placed again under the same reference.
        """
        case, at, event = case_writes.lock_comment(self._connection, event_id)
        self._rewrite(case, at, event, "commentDeleted", {}, "commentDeleted")
        return case.id

    def _move(
        self, case_id: str, to: CaseStatus, *, only_from: CaseStatus | None = None, reason: str | None = None
    ) -> Case:
        case, at = self._locked(case_id)
        if case.status is to:
            return case
        if to not in TRANSITIONS[case.status] or (only_from and case.status is not only_from):
            raise TransitionError(f"{case.name} is {case.status} and cannot become {to}.")
        changed = replace(case, status=to, status_changed_at=at, changed_by=self._actor)
        events: list[tuple[str, Content]] = [("statusChanged", {"oldStatus": case.status, "newStatus": to})]
        if case.status is CaseStatus.PENDING_ACTIVATION and to is CaseStatus.ACTIVE:
            changed = replace(changed, readable_id=case_writes.next_readable_id(self._connection))
        elif to is CaseStatus.ACTIVE:
            changed = replace(changed, acknowledged_at=None)
        elif to is CaseStatus.ACKNOWLEDGED:
            changed = replace(changed, acknowledged_at=at)
        elif to is CaseStatus.RESOLVED:
            changed = replace(changed, resolved_at=at, resolved_by=self._actor)
            if reason is not None:
                changed = replace(changed, resolution_reason=reason, resolution_changed_at=at)
                events.append(_reason_changed(case.resolution_reason, reason))
        return self._save(changed, at, *events)

    def _locked(self, case_id: str) -> tuple[Case, datetime]:
        return case_writes.lock_case(self._connection, case_id)

    def _save(self, changed: Case, at: datetime, *events: tuple[str, Content]) -> Case:
        saved = case_writes.save_case(self._connection, changed, at)
        self._record(saved, at, *events)
        return saved

    def _record(
        self, case: Case, at: datetime, *events: tuple[str, Content], reference: str | None = None
    ) -> TimelineEvent:
        """Put the events on the timeline and one row for the sync, named after the first; returns the first."""
        first, *_ = [
            case_writes.add_to_timeline(self._connection, case, at, self._actor, kind, content, reference)
            for kind, content in events
        ]
        case_writes.tell_sync(self._connection, case, at, self._actor, first.kind, first.event_id)
        return first

    def _rewrite(
        self, case: Case, at: datetime, event: TimelineEvent, kind: str, content: Content, told_as: str
    ) -> TimelineEvent:
        case_writes.save_case(self._connection, case, at)
        rewritten = case_writes.rewrite_comment(self._connection, event, at, kind, content)
        case_writes.tell_sync(self._connection, case, at, self._actor, told_as, event.event_id)
        return rewritten


def _reason_changed(before: str | None, after: str) -> tuple[str, Content]:
    return "resolutionReasonChangedEvent", ({"from": before} if before else {}) | {"to": after}


def _priority_changed(before: Case, after: Case) -> tuple[str, Content]:
    return "priorityDetailsChanged", {"from": _priorities(before), "to": _priorities(after)}


def _priorities(case: Case) -> Content:
    return {"system": case.system_priority} | ({"override": case.override_priority} if case.override_priority else {})
