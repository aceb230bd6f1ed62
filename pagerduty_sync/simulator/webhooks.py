"""A webhook's wire form: its envelope and `data`, its signature, and what an answer to it means. Pure functions.

The bodies follow the "Webhooks Overview" page, with the keys and their order as in deliveries of 2026.
"""

import hashlib
import hmac
import json
from typing import Any

from .clock import rest_time, webhook_time
from .model import Actor, Event, Incident, Json
from .render import Shapes
from .state import new_id

SIZE_LIMIT = 256 * 1024  # larger bodies are dropped ("Webhook Behavior" page)


def _reference(reference: Json) -> Json:
    return {key: reference[key] for key in ("id", "type", "self", "html_url", "summary")}


def incident_data(shapes: Shapes, incident: Incident) -> Json:
    own = _reference(shapes.incident_reference(incident))
    priority = shapes.priority_reference(incident.priority_id) if incident.priority_id else None
    return {
        "id": incident.id,
        "type": "incident",
        "self": own["self"],
        "html_url": own["html_url"],
        "number": incident.number,
        "status": incident.status,
        "incident_key": incident.key,
        "created_at": rest_time(incident.created_at),
        "reopened_at": rest_time(incident.reopened_at) if incident.reopened_at else None,
        "title": incident.title,
        "service": _reference(shapes.service_reference(incident.service_id)),
        "assignees": [_reference(shapes.user_reference(user_id)) for user_id, _ in incident.assignments],
        "escalation_policy": _reference(shapes.policy_reference(incident.policy_id)),
        "teams": [_reference(shapes.team_reference(id_)) for id_ in shapes.team_ids(incident)],
        "priority": _reference(priority) if priority else None,
        "urgency": incident.urgency,
        "conference_bridge": incident.conference_bridge,
        "resolve_reason": shapes.resolve_reason(incident),
        "incident_type": {"name": incident.incident_type},
    }


def part_data(shapes: Shapes, incident: Incident, kind: str, **fields: Any) -> Json:
    """`data` of an event about a part of an incident: a note, a status update, a bridge."""
    reference = _reference(shapes.incident_reference(incident, summary=incident.title))
    return {"incident": reference, **fields, "type": kind}


def agent_of(shapes: Shapes, actor: Actor) -> Json | None:
    """Null means automation ("Webhooks Overview" page)."""
    if actor.agent is None or not actor.named:
        return None
    return _reference(shapes.agent_reference(actor.agent))


def trim(text: str, limit: int) -> tuple[str, bool]:
    """Long texts travel cut, with `trimmed: true`; the whole one is read by REST ("Webhooks Overview" page)."""
    encoded = text.encode("utf-8", "replace")
    if len(encoded) <= limit:
        return text, False
    return encoded[:limit].decode("utf-8", "ignore"), True


def judge(status: int | None) -> str:
    """What becomes of a webhook by its answer; None is a timeout or no connection ("Webhook Behavior" page)."""
    if status is None or status == 429 or status >= 500:
        return "retry"
    return "delivered" if 200 <= status < 300 else "dropped"


def sign(secret: str, body: bytes) -> str:
    return "v1=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def to_bytes(body: str) -> bytes:
    """Bodies are kept as text for the snapshot; bytes that are no UTF-8 survive in it as escapes."""
    return body.encode("utf-8", "surrogateescape")


def to_text(body: bytes) -> str:
    return body.decode("utf-8", "surrogateescape")


def new_event_id() -> str:
    """26 characters, as in recent deliveries."""
    return new_id("01", 26)


def encode(event: Event, event_id: str) -> str:
    envelope: Json = {
        "event": {
            "id": event_id,
            "event_type": event.event_type,
            "resource_type": event.resource_type,
            "occurred_at": webhook_time(event.occurred_at),
            "agent": event.agent,
            "client": event.client,
            "data": event.data,
        }
    }
    return json.dumps(envelope, separators=(",", ":"), ensure_ascii=False)


def describe(body: str) -> tuple[str, str, str | None]:
    """Type, event id and incident of a body somebody made by hand, as far as they can be read from it."""
    try:
        event = json.loads(body)["event"]
        found = event["data"] if event["data"].get("type") == "incident" else event["data"].get("incident") or {}
        incident_id = found.get("id")
        return str(event["event_type"]), str(event["id"]), incident_id if isinstance(incident_id, str) else None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return "raw", "", None
