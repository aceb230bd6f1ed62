"""What a V3 webhook says, from raw bytes to an IncidentEvent. Believes nothing about who sent them: see signature.py.

Field names and which of them may be null follow PagerDuty's page "Webhooks: Overview" and real deliveries.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import fields

from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.domain.incidents import Incident, IncidentEvent, IncidentStatus, Note
from pagerduty_sync.errors import PayloadError
from pagerduty_sync.pagerduty.wire import (
    AgentField,
    Id,
    Instant,
    Label,
    Number,
    ReferenceSchema,
    ResolveReasonSchema,
    Status,
    Text,
    WireSchema,
    load,
    load_json,
    merged_into,
)

PING = "pagey.ping"
ANNOTATED = "incident.annotated"

STATUS_EVENT_TYPES = frozenset(
    {
        "incident.triggered",
        "incident.acknowledged",
        "incident.unacknowledged",
        "incident.resolved",
        "incident.reopened",
    }
)
"""The types that say the status has just changed; in any other the status is only mentioned."""

WHOLE_INCIDENT_EVENT_TYPES = STATUS_EVENT_TYPES | {"incident.priority_updated"}
"""The types we act on by the incident they carry, so they must carry one."""

SUBSCRIBED_EVENT_TYPES: tuple[str, ...] = (
    "incident.triggered",
    "incident.acknowledged",
    "incident.unacknowledged",
    "incident.resolved",
    "incident.reopened",
    "incident.priority_updated",
    "incident.annotated",
    "incident.service_updated",
)
"""What our subscription asks for. `service_updated` tells that an incident leaves a service-scoped subscription."""

KNOWN_EVENT_TYPES = frozenset(SUBSCRIBED_EVENT_TYPES) | {
    "incident.action_invocation.created",
    "incident.action_invocation.terminated",
    "incident.action_invocation.updated",
    "incident.conference_bridge.updated",
    "incident.custom_field_values.updated",
    "incident.delegated",
    "incident.escalated",
    "incident.incident_type.changed",
    "incident.reassigned",
    "incident.responder.added",
    "incident.responder.replied",
    "incident.role.assigned",
    "incident.status_update_published",
    "incident.task.completed",
    "incident.task.created",
    "incident.task.updated",
    "incident.workflow.completed",
    "incident.workflow.started",
    "service.created",
    "service.custom_field_values.updated",
    "service.deleted",
    "service.updated",
    PING,
}
"""Every type the documentation names. PagerDuty may add more at any time."""


class EventSchema(WireSchema):
    id = Id(required=True)
    event_type = Id(required=True)
    occurred_at = Instant(required=True)
    agent = AgentField()
    data = fields.Raw(load_default=None, allow_none=True)


class EnvelopeSchema(WireSchema):
    event = fields.Nested(EventSchema, required=True)


class IncidentSchema(WireSchema):
    id = Id(required=True)
    status = Status(required=True)
    number = Number()
    title = Label()
    html_url = Label()
    incident_key = Label()
    urgency = Label()
    service = fields.Nested(ReferenceSchema, load_default=None, allow_none=True)
    priority = fields.Nested(ReferenceSchema, load_default=None, allow_none=True)
    resolve_reason = fields.Nested(ResolveReasonSchema, load_default=None, allow_none=True)


class NoteSchema(WireSchema):
    id = Id(required=True)
    content = Text(load_default=None, allow_none=True)
    trimmed = fields.Boolean(load_default=False, allow_none=True)
    incident = fields.Nested(ReferenceSchema, required=True)


# Building a schema is slow and loading keeps no state, so one of each serves every thread.
_ENVELOPE, _INCIDENT, _NOTE, _REFERENCE = EnvelopeSchema(), IncidentSchema(), NoteSchema(), ReferenceSchema()


def parse_event(body: bytes) -> IncidentEvent:
    """Read one webhook. Raises PayloadError, and nothing else, for what cannot be read.

    A type we do not know is not an error: its event has neither incident nor note. An incident body without a
    `priority` member is not whole (details are left out of large bodies: Webhooks: Behavior), and taking it for "no
    priority" would clear one: its event has the incident's id only.
    """
    event = load(_ENVELOPE, load_json(body), "")["event"]
    event_type, agent, content = event["event_type"], event["agent"], event["data"]
    incident = note = None
    if event_type == ANNOTATED:
        note = _parse_note(event, _whole(content, "incident_note"))
    elif event_type in WHOLE_INCIDENT_EVENT_TYPES:
        incident = _parse_incident(event, _whole(content, "incident"))
    elif event_type in KNOWN_EVENT_TYPES and isinstance(content, Mapping) and content.get("type") == "incident":
        incident = _parse_incident(event, content)
    return IncidentEvent(
        id=event["id"],
        event_type=event_type,
        occurred_at=event["occurred_at"],
        incident_id=_incident_id(content),
        agent=agent,
        incident=incident,
        note=note,
    )


def _whole(content: object, kind: str) -> Mapping[str, Any]:
    if not isinstance(content, Mapping):
        raise PayloadError("event.data: must be an object", field="event.data")
    if content.get("type") != kind:
        raise PayloadError(f"event.data.type: must be {kind} for this event", field="event.data.type")
    return content


def _incident_id(content: object) -> str | None:
    """`data.id` of an incident, else `data.incident.id` (Webhooks: Overview)."""
    if not isinstance(content, Mapping):
        return None
    holder = content if content.get("type") == "incident" else content.get("incident")
    try:
        return str(load(_REFERENCE, holder, "event.data")["id"])
    except PayloadError:
        return None


def _parse_incident(event: Mapping[str, Any], content: Mapping[str, Any]) -> Incident | None:
    loaded = load(_INCIDENT, content, "event.data")
    status: IncidentStatus = loaded["status"]
    target = merged_into(loaded["resolve_reason"], "event.data.resolve_reason")
    if "priority" not in content:
        return None
    occurred_at, agent = event["occurred_at"], event["agent"]
    return Incident(
        id=loaded["id"],
        status=status,
        seen_at=occurred_at,
        number=loaded["number"],
        title=loaded["title"],
        html_url=loaded["html_url"],
        service_id=loaded["service"]["id"] if loaded["service"] else "",
        incident_key=loaded["incident_key"] or None,
        priority_id=loaded["priority"]["id"] if loaded["priority"] else None,
        urgency=loaded["urgency"],
        status_changed_at=occurred_at if event["event_type"] in STATUS_EVENT_TYPES else None,
        merged_into=target if status is IncidentStatus.RESOLVED else None,
        by=agent,
    )


def _parse_note(event: Mapping[str, Any], content: Mapping[str, Any]) -> Note:
    loaded = load(_NOTE, content, "event.data")
    agent: Actor | None = event["agent"]
    text: str | None = loaded["content"]
    # A note whose text was left out altogether is read again like one that was cut.
    is_trimmed = bool(loaded["trimmed"]) or text is None
    return Note(id=loaded["id"], text=text or "", by=agent, created_at=event["occurred_at"], is_trimmed=is_trimmed)
