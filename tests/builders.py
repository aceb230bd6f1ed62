"""Valid PagerDuty bodies, each a test can bend in one place. Written from the documentation, not from our schemas."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

WEBHOOK_SECRET = "test-webhook-secret"
SUBSCRIPTION_ID = "PSUB001"

_STATUS_OF = {
    "incident.acknowledged": "acknowledged",
    "incident.resolved": "resolved",
}
_ENVELOPE_FIELDS = ("event_id", "occurred_at", "agent", "client", "resource_type")


def a_reference(kind: str, id: str, summary: str | None = None) -> dict[str, Any]:
    return {
        "id": id,
        "type": f"{kind}_reference",
        "self": f"https://api.pagerduty.com/{kind}s/{id}",
        "html_url": f"https://acme.pagerduty.com/{kind}s/{id}",
        "summary": summary or f"{kind} {id}",
    }


A_USER = a_reference("user", "PUSER01", "Jane Doe")


def a_webhook(event_type: str = "incident.triggered", incident_id: str = "PINC001", **overrides: Any) -> dict[str, Any]:
    """A webhook whose body is a whole incident.

    Of the overrides, `event_id`, `occurred_at`, `agent`, `client` go to the envelope and the rest to the incident.
    """
    envelope = {name: overrides.pop(name) for name in _ENVELOPE_FIELDS if name in overrides}
    incident = {
        "id": incident_id,
        "type": "incident",
        "self": f"https://api.pagerduty.com/incidents/{incident_id}",
        "html_url": f"https://acme.pagerduty.com/incidents/{incident_id}",
        "number": 7,
        "status": _STATUS_OF.get(event_type, "triggered"),
        "incident_key": "d3640fbd41094207a1c11e58e46b1662",
        "created_at": "2026-04-01T02:00:00Z",
        "reopened_at": None,
        "title": "Checkout is slow",
        "service": a_reference("service", "PSVC001", "Checkout"),
        "assignees": [A_USER],
        "escalation_policy": a_reference("escalation_policy", "PESC001"),
        "teams": [],
        "priority": None,
        "urgency": "high",
        "conference_bridge": None,
        "resolve_reason": None,
        "incident_type": {"name": "incident_default"},
    }
    return an_envelope(event_type, incident | overrides, **envelope)


def a_note_webhook(
    text: str = "Looking into it.", note_id: str = "PNOTE01", incident_id: str = "PINC001", **overrides: Any
) -> dict[str, Any]:
    """An `incident.annotated` webhook; overrides as in `a_webhook`."""
    envelope = {name: overrides.pop(name) for name in _ENVELOPE_FIELDS if name in overrides}
    note = {
        "incident": a_reference("incident", incident_id, "Checkout is slow"),
        "id": note_id,
        "content": text,
        "trimmed": False,
        "type": "incident_note",
    }
    return an_envelope("incident.annotated", note | overrides, **envelope)


def a_merge_webhook(incident_id: str = "PINC001", into: str = "PINC002", **overrides: Any) -> dict[str, Any]:
    """`incident.resolved` of an incident that was merged into another one."""
    reason = {"type": "merge_resolve_reason", "incident": a_reference("incident", into)}
    return a_webhook("incident.resolved", incident_id, resolve_reason=reason, **overrides)


def a_ping(event_id: str = "01PING") -> dict[str, Any]:
    content = {"message": "Hello from your friend Pagey!", "type": "ping"}
    return an_envelope("pagey.ping", content, event_id=event_id, resource_type="pagey", agent=None)


def an_envelope(event_type: str, content: object, **envelope: Any) -> dict[str, Any]:
    return {
        "event": {
            "id": envelope.get("event_id", "01EVENT"),
            "event_type": event_type,
            "resource_type": envelope.get("resource_type", event_type.partition(".")[0]),
            "occurred_at": envelope.get("occurred_at", "2026-04-01T02:15:36.315Z"),
            "agent": envelope.get("agent", A_USER),
            "client": envelope.get("client"),
            "data": content,
        }
    }


def as_bytes(webhook: object) -> bytes:
    return json.dumps(webhook).encode()


def signed(
    body: bytes, secret: str = WEBHOOK_SECRET, webhook_id: str = "whk-1", subscription_id: str = SUBSCRIPTION_ID
) -> dict[str, str]:
    """The headers PagerDuty sends with a webhook."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return {
        "Content-Type": "application/json",
        "User-Agent": "PagerDuty-Webhook/V3.0",
        "X-PagerDuty-Signature": f"v1={digest}",
        "X-Webhook-Id": webhook_id,
        "X-Webhook-Subscription": subscription_id,
    }


def a_rest_incident(id: str = "PINC001", **overrides: Any) -> dict[str, Any]:
    """An incident as the REST API shows it."""
    return {
        "id": id,
        "type": "incident",
        "summary": "[#7] Checkout is slow",
        "self": f"https://api.pagerduty.com/incidents/{id}",
        "html_url": f"https://acme.pagerduty.com/incidents/{id}",
        "incident_number": 7,
        "title": "Checkout is slow",
        "created_at": "2026-04-01T02:00:00Z",
        "updated_at": "2026-04-01T02:10:00Z",
        "status": "triggered",
        "incident_key": "case-1",
        "service": a_reference("service", "PSVC001", "Checkout"),
        "assignments": [],
        "acknowledgements": [],
        "last_status_change_at": "2026-04-01T02:05:00Z",
        "last_status_change_by": A_USER,
        "resolved_at": None,
        "resolve_reason": None,
        "priority": None,
        "urgency": "high",
    } | overrides


def a_rest_note(id: str = "PNOTE01", content: str = "Looking into it.", **overrides: Any) -> dict[str, Any]:
    return {
        "id": id,
        "user": A_USER,
        "channel": {"summary": "The PagerDuty website or APIs"},
        "content": content,
        "created_at": "2026-04-01T02:12:00Z",
    } | overrides
