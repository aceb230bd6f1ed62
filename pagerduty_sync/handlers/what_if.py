"""One past event under given settings: what it would lead to, as if both sides had been in step before it.

Pure: the planner's own rules on a link made up for the question. Nothing is read and nothing is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from pagerduty_sync.domain.cases import Case, CasePriority, CaseStatus, Comment
from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.incidents import IncidentEvent, IncidentStatus
from pagerduty_sync.domain.links import Agreement, Ledger, Link, LinkState, Picture, Seen
from pagerduty_sync.domain.mapping import INCIDENT_STATUS, case_priority_value
from pagerduty_sync.domain.observing import PAGERDUTY, look_at_comments, look_at_event
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.domain.plans import ChangeCase, ChangeIncident, Plan
from pagerduty_sync.handlers.case_side import operation_of as case_operation_of
from pagerduty_sync.handlers.incident_side import operation_of as incident_operation_of
from pagerduty_sync.stores.recent_events import RecentChange

PREMISE = (
    "Each event is looked at on its own, as if both sides had been in step before it. What a Case or an incident had "
    "become by then otherwise is not played through."
)

_BEFORE: Mapping[str, tuple[CaseStatus, IncidentStatus]] = {
    "incident.unacknowledged": (CaseStatus.ACKNOWLEDGED, IncidentStatus.ACKNOWLEDGED),
    "incident.reopened": (CaseStatus.RESOLVED, IncidentStatus.RESOLVED),
}
_OTHER_PRIORITY = "another priority"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The reason the delivery log would give, and the write it leads to, empty for none."""

    reason: str
    does: str


def of_webhook(event: IncidentEvent, case: Case, policy: Policy) -> Outcome:
    """What this webhook would lead to on the Case."""
    case_status, incident_status = _BEFORE.get(event.event_type, (CaseStatus.ACTIVE, IncidentStatus.TRIGGERED))
    case = replace(case, status=case_status, resolution_reason=None, resolution_changed_at=None)
    if event.incident is not None:
        case = replace(case, override_priority=None)
    link = _link(case, case_status.value, incident_status, _OTHER_PRIORITY, event)
    looked = look_at_event(link, Ledger(), event, case, policy, "what-if")
    planned = plan(looked.link, looked.ledger, case, policy, is_fresh=True)
    if looked.field is None:
        return Outcome((looked.reason or Reason.NOT_SYNCED).value, "")
    reason = looked.reason or planned.reasons.get(looked.field, Reason.IN_STEP)
    return Outcome(reason.value, _case_writes(planned, looked.field))


def of_change(change: RecentChange, case: Case, policy: Policy, now: Policy) -> Outcome:
    """What this change of the Case would lead to on the incident, which is as the settings of `now` had made it."""
    match change.kind:
        case "created":
            return _of_creation(case, policy)
        case "statusChanged":
            return _of_status(
                CaseStatus(change.content["oldStatus"]), CaseStatus(change.content["newStatus"]), case, policy
            )
        case "priorityDetailsChanged":
            return _of_priority(change.content["from"], change.content["to"], case, policy, now)
        case "resolutionReasonChangedEvent":
            case = replace(case, status=CaseStatus.RESOLVED, resolution_reason=str(change.content["to"]))
            link = _link(case, case.status.value, IncidentStatus.RESOLVED, None)
            before = Agreement(change.content.get("from"), None)
            link = replace(link, pictures={**link.pictures, Field.RESOLUTION_NOTES: Picture(before)})
            return _outcome(plan(link, Ledger(), case, policy, is_fresh=True), Field.RESOLUTION_NOTES)
        case "comment":
            comment = Comment("what-if", "…", PAGERDUTY, change.occurred_at)
            link = _link(case, case.status.value, IncidentStatus.TRIGGERED, None)
            ledger = look_at_comments(link, Ledger(), [comment], policy, ["what-if"])
            if not ledger.waiting("outbound"):
                return Outcome(Reason.DIRECTION_OFF.value, "")
            return Outcome(Reason.APPLIED.value, "post_note")
        case _:
            return Outcome(Reason.NO_EQUIVALENT.value, "")


def _of_creation(case: Case, policy: Policy) -> Outcome:
    id_ = policy.priority_map.get(case.system_priority) if policy.allows_out(Field.PRIORITY) else None
    return Outcome(Reason.APPLIED.value, f"open_incident {id_ or 'without a priority'}")


def _of_status(old: CaseStatus, new: CaseStatus, case: Case, policy: Policy) -> Outcome:
    if old is CaseStatus.PENDING_ACTIVATION:
        return _of_creation(case, policy)
    case = replace(case, status=new, resolution_reason=None)
    link = _link(case, old.value, INCIDENT_STATUS.get(old, IncidentStatus.RESOLVED), None)
    return _outcome(plan(link, Ledger(), case, policy, is_fresh=True), Field.STATUS)


def _of_priority(
    before: Mapping[str, Any], after: Mapping[str, Any], case: Case, policy: Policy, now: Policy
) -> Outcome:
    was, becomes = _with_priorities(case, before), _with_priorities(case, after)
    link = _link(becomes, becomes.status.value, IncidentStatus.TRIGGERED, now.priority_map.get(was.priority))
    seen = link.seen(Field.PRIORITY)
    assert seen is not None
    agreed = Picture(Agreement(case_priority_value(was), seen.value), seen)
    link = replace(link, pictures={**link.pictures, Field.PRIORITY: agreed})
    return _outcome(plan(link, Ledger(), becomes, policy, is_fresh=True), Field.PRIORITY)


def _with_priorities(case: Case, content: Mapping[str, Any]) -> Case:
    override = content.get("override")
    return replace(
        case,
        status=CaseStatus.ACTIVE,
        system_priority=CasePriority(content["system"]),
        override_priority=CasePriority(override) if override else None,
    )


def _link(
    case: Case,
    agreed_status: str,
    incident: IncidentStatus,
    priority_id: str | None,
    event: IncidentEvent | None = None,
) -> Link:
    """A pair in step: each side is what both agreed on."""
    # Earlier than the event, so that it counts as news.
    at = (event.occurred_at if event else case.created_at) - timedelta(days=1)
    agreed = {
        Field.STATUS: Agreement(agreed_status, incident.value),
        Field.PRIORITY: Agreement(case_priority_value(case), priority_id),
        Field.RESOLUTION_NOTES: Agreement(case.resolution_reason, None),
    }
    pictures = {
        name: Picture(pair, None if name is Field.RESOLUTION_NOTES else Seen(pair.incident, at, at))
        for name, pair in agreed.items()
    }
    incident_id = event.incident_id if event else "what-if"
    return Link("", case.id, case.name, "", "", "", "what-if", LinkState.LINKED, pictures, incident_id=incident_id)


def _outcome(planned: Plan, name: Field) -> Outcome:
    does = [incident_operation_of(action) for action in planned.incident_actions if _is_about(action, name)]
    does += [
        f"set {action.priority_id}"
        for action in planned.incident_actions
        if isinstance(action, ChangeIncident) and action.field is name is Field.PRIORITY and action.priority_id
    ]
    does += [f"post_{tell.kind}" for tell in planned.tells if tell.direction == "outbound"]
    return Outcome(planned.reasons.get(name, Reason.IN_STEP).value, " ".join(does))


def _is_about(action: object, name: Field) -> bool:
    return isinstance(action, ChangeIncident) and action.field is name


def _case_writes(planned: Plan, name: Field) -> str:
    does = []
    for action in planned.case_actions:
        if isinstance(action, ChangeCase) and action.field is not name:
            continue
        extra = f" {action.priority}" if isinstance(action, ChangeCase) and action.priority else ""
        does.append(f"{case_operation_of(action)}{extra}")
    does += ["place_comment" for tell in planned.tells if tell.direction == "inbound"]
    return ", ".join(does)
