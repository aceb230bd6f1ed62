"""A plan as people and programs read it: what would be written where, what is settled without a write, and why."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pagerduty_sync.domain.links import Link
from pagerduty_sync.domain.plans import ChangeCase, ChangeIncident, PlaceComment, Plan, PostNote
from pagerduty_sync.handlers.case_side import operation_of as case_operation_of
from pagerduty_sync.handlers.incident_side import operation_of as incident_operation_of


def in_words(planned: Plan, link: Link) -> Mapping[str, Any]:
    """The plan of one link; `is_empty` when there is nothing to do."""
    on_case = [{"operation": case_operation_of(each), "detail": _detail(each)} for each in planned.case_actions]
    on_incident = [
        {"operation": incident_operation_of(each), "detail": _detail(each)} for each in planned.incident_actions
    ]
    for tell in planned.tells:
        side = on_case if tell.direction == "inbound" else on_incident
        side.append({"operation": "place_comment" if tell.direction == "inbound" else "post_note", "detail": tell.text})
    ends = planned.ends.value if planned.ends else None
    return {
        "link_id": link.id or None,
        "case": link.case_name,
        "incident_id": link.incident_id,
        "state": link.state.value,
        "on_case": on_case,
        "on_incident": on_incident,
        "settled": {
            name.value: {"case": agreed.case, "incident": agreed.incident} for name, agreed in planned.settled.items()
        },
        "reasons": {name.value: reason.value for name, reason in planned.reasons.items()},
        "follows": planned.follows,
        "ends": ends,
        "is_empty": not (on_case or on_incident or planned.follows or ends),
    }


def _detail(action: object) -> str:
    match action:
        case ChangeCase(status=status) if status is not None:
            return f"becomes {status.value}"
        case ChangeCase(priority=priority) if priority is not None:
            return f"becomes {priority.value}"
        case ChangeCase(reason=reason):
            return reason or ""
        case ChangeIncident(status=status) if status is not None:
            return f"becomes {status.value}"
        case ChangeIncident(priority_id=priority_id):
            return f"priority {priority_id}" if priority_id else "no priority"
        case PlaceComment(entry) | PostNote(entry):
            return entry.text
        case _:
            return ""
