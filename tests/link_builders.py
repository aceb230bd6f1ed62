"""Valid Cases, links and events for tests of the planner; a test changes the one field it is about."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from pagerduty_sync.domain.cases import Actor, Case, CaseCategory, CasePriority, CaseStatus
from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.incidents import Incident, IncidentEvent, IncidentStatus, Note
from pagerduty_sync.domain.links import Agreement, Link, LinkState, Picture, Seen

T0 = datetime(2026, 4, 1, 12, 0, 0, tzinfo=UTC)
ADA = Actor("pagerDuty", "PADA001", "Ada Responder")
JANE = Actor("user", "u-1", "Jane Doe")
PRIORITIES = {priority: f"PRIO{priority.value[1]}" for priority in CasePriority}
POLICY = Policy(priority_map=PRIORITIES)


def at(seconds: float) -> datetime:
    """T0 and so many seconds."""
    return T0 + timedelta(seconds=seconds)


def a_case(status: CaseStatus = CaseStatus.ACTIVE, **changes: Any) -> Case:
    values: dict[str, Any] = {
        "id": "6e6cbb50-0000-4000-8000-000000000012",
        "title": "Checkout is slow",
        "status": status,
        "system_priority": CasePriority.P3,
        "category": CaseCategory.AVAILABILITY,
        "created_at": T0,
        "updated_at": T0,
        "status_changed_at": T0,
        "priority_changed_at": T0,
        "readable_id": "CASE-12",
        "changed_by": JANE,
    }
    return Case(**{**values, **changes})


def seen(value: str | None, seconds: float = 1, *, changed: float | None = None, is_read: bool = False) -> Seen:
    return Seen(value, at(seconds), at(seconds if changed is None else changed), is_read, ADA)


def a_link(
    agreed: tuple[str, str] = ("ACTIVE", "triggered"),
    incident: str = "triggered",
    *,
    priority: tuple[tuple[str, str | None], str | None] = (("system:P3", "PRIO3"), "PRIO3"),
    resolution: tuple[tuple[str | None, str | None], str | None] = ((None, None), None),
    **changes: Any,
) -> Link:
    """A linked pair: per field what was agreed and what the incident was last seen to be."""
    pictures = {
        Field.STATUS: Picture(Agreement(*agreed), seen(incident)),
        Field.PRIORITY: Picture(Agreement(*priority[0]), seen(priority[1])),
        Field.RESOLUTION_NOTES: Picture(
            Agreement(*resolution[0]), None if resolution[1] is None else seen(resolution[1])
        ),
    }
    values: dict[str, Any] = {
        "id": "11111111-0000-4000-8000-000000000001",
        "case_id": "6e6cbb50-0000-4000-8000-000000000012",
        "case_name": "CASE-12",
        "connector_id": "c",
        "integration_id": "i",
        "service_id": "PSVC001",
        "incident_key": "case-6e6cbb50",
        "incident_id": "Q0INC1",
        "incident_number": 7,
        "state": LinkState.LINKED,
        "pictures": pictures,
    }
    return Link(**{**values, **changes})


def an_incident(status: str = "triggered", seconds: float = 1, **changes: Any) -> Incident:
    values: dict[str, Any] = {
        "id": "Q0INC1",
        "status": IncidentStatus(status),
        "seen_at": at(seconds),
        "number": 7,
        "priority_id": "PRIO3",
        "status_changed_at": at(seconds),
        "by": ADA,
    }
    return Incident(**{**values, **changes})


def an_event(
    event_type: str = "incident.acknowledged", status: str = "acknowledged", seconds: float = 1, **changes: Any
) -> IncidentEvent:
    """A webhook with a whole incident in it; `changes` are the incident's."""
    event_id = changes.pop("event_id", f"E-{event_type}-{seconds}")
    agent = changes.pop("agent", ADA)
    incident = an_incident(status, seconds, **{"by": agent, **changes})
    return IncidentEvent(event_id, event_type, at(seconds), incident.id, agent, incident)


def a_note_event(text: str = "on it", note_id: str = "PNOTE1", seconds: float = 1, **changes: Any) -> IncidentEvent:
    note = Note(note_id, text, ADA, at(seconds), **changes)
    return IncidentEvent(f"E-{note_id}", "incident.annotated", at(seconds), "Q0INC1", ADA, None, note)
