"""What the REST API's bodies say, in the domain's terms. Every parser raises PayloadError for what cannot be read.

REST names differ from a webhook's: `incident_number` here is `number` there (API reference: Incidents).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from marshmallow import fields

from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.domain.incidents import Incident, IncidentStatus, Note, Priority, Service, User
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
    clean,
    load,
    merged_into,
)


@dataclass(frozen=True, slots=True)
class Subscription:
    """A webhook subscription as PagerDuty shows it after it was made: without its secret."""

    id: str
    url: str
    description: str
    events: tuple[str, ...]
    filter_type: str
    filter_id: str | None
    is_active: bool
    is_temporarily_disabled: bool


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of the account's log: `type` such as `acknowledge_log_entry`, on which incident, by whom.

    `channel` is which way it came, such as `api` or `website`, and `text` a note's; empty where the line does not say.
    """

    id: str
    type: str
    created_at: datetime
    incident_id: str | None
    by: Actor | None
    channel: str = ""
    text: str = ""


class RestIncidentSchema(WireSchema):
    id = Id(required=True)
    status = Status(required=True)
    incident_number = Number()
    title = Label()
    html_url = Label()
    incident_key = Label()
    urgency = Label()
    created_at = Instant(load_default=None, allow_none=True)
    updated_at = Instant(load_default=None, allow_none=True)
    last_status_change_at = Instant(load_default=None, allow_none=True)
    last_status_change_by = AgentField()
    service = fields.Nested(ReferenceSchema, load_default=None, allow_none=True)
    priority = fields.Nested(ReferenceSchema, load_default=None, allow_none=True)
    resolve_reason = fields.Nested(ResolveReasonSchema, load_default=None, allow_none=True)


class RestNoteSchema(WireSchema):
    id = Id(required=True)
    content = Text(required=True)
    user = AgentField()
    created_at = Instant(load_default=None, allow_none=True)


class NamedSchema(WireSchema):
    """A priority, a service or a user: `summary` stands in for a missing name."""

    id = Id(required=True)
    name = Label()
    summary = Label()
    status = Label()
    email = Label()
    html_url = Label()
    role = Label()


class DeliveryMethodSchema(WireSchema):
    url = Label()
    temporarily_disabled = fields.Boolean(load_default=False, allow_none=True)
    secret = Label()


class FilterSchema(WireSchema):
    type = Label()
    id = Label()


class SubscriptionSchema(WireSchema):
    id = Id(required=True)
    active = fields.Boolean(load_default=True, allow_none=True)
    description = Label()
    events = fields.List(Text(), load_default=list)
    filter = fields.Nested(FilterSchema, required=True)
    delivery_method = fields.Nested(DeliveryMethodSchema, required=True)


class ChannelField(fields.Field[tuple[str, str]]):
    """Type and text of a channel, whose form is not guaranteed: empty where it is another (REST API: Log Entries)."""

    def __init__(self) -> None:
        super().__init__(load_default=("", ""), allow_none=True)

    def deserialize(self, value: Any, attr: str | None = None, data: Any = None, **kwargs: Any) -> tuple[str, str]:
        given = value if isinstance(value, Mapping) else {}
        kind, text = (one if isinstance(one, str) else "" for one in (given.get("type"), given.get("summary")))
        return clean(kind), clean(text)


class LogEntrySchema(WireSchema):
    id = Id(required=True)
    type = Label()
    created_at = Instant(required=True)
    incident = fields.Nested(ReferenceSchema, load_default=None, allow_none=True)
    agent = AgentField()
    channel = ChannelField()


_INCIDENT, _NOTE, _NAMED = RestIncidentSchema(), RestNoteSchema(), NamedSchema()
_SUBSCRIPTION, _LOG_ENTRY = SubscriptionSchema(), LogEntrySchema()


def parse_incident(value: object) -> Incident:
    """`seen_at` is the latest time the body shows, so a later look never carries an earlier watermark."""
    loaded = load(_INCIDENT, value, "incident")
    times = [loaded[name] for name in ("updated_at", "last_status_change_at", "created_at") if loaded[name]]
    if not times:
        raise PayloadError("incident.updated_at: an incident must carry a time", field="incident.updated_at")
    status: IncidentStatus = loaded["status"]
    target = merged_into(loaded["resolve_reason"], "incident.resolve_reason")
    return Incident(
        id=loaded["id"],
        status=status,
        seen_at=max(times),
        number=loaded["incident_number"],
        title=loaded["title"],
        html_url=loaded["html_url"],
        service_id=loaded["service"]["id"] if loaded["service"] else "",
        incident_key=loaded["incident_key"] or None,
        priority_id=loaded["priority"]["id"] if loaded["priority"] else None,
        urgency=loaded["urgency"],
        status_changed_at=loaded["last_status_change_at"],
        merged_into=target if status is IncidentStatus.RESOLVED else None,
        by=loaded["last_status_change_by"],
    )


def parse_note(value: object) -> Note:
    loaded = load(_NOTE, value, "note")
    return Note(id=loaded["id"], text=loaded["content"], by=loaded["user"], created_at=loaded["created_at"])


def parse_priority(value: object) -> Priority:
    loaded = load(_NAMED, value, "priority")
    return Priority(id=loaded["id"], name=loaded["name"] or loaded["summary"])


def parse_service(value: object) -> Service:
    loaded = load(_NAMED, value, "service")
    name = loaded["name"] or loaded["summary"]
    return Service(id=loaded["id"], name=name, status=loaded["status"] or "active", html_url=loaded["html_url"])


def parse_user(value: object) -> User:
    loaded = load(_NAMED, value, "user")
    return User(
        id=loaded["id"],
        name=loaded["name"] or loaded["summary"],
        email=loaded["email"],
        html_url=loaded["html_url"],
        role=loaded["role"],
    )


def parse_ability(value: object) -> str:
    if not isinstance(value, str):
        raise PayloadError("abilities: must be texts", field="abilities")
    return value


def parse_subscription(value: object) -> Subscription:
    loaded = load(_SUBSCRIPTION, value, "webhook_subscription")
    method = loaded["delivery_method"]
    return Subscription(
        id=loaded["id"],
        url=method["url"],
        description=loaded["description"],
        events=tuple(loaded["events"]),
        filter_type=loaded["filter"]["type"],
        filter_id=loaded["filter"]["id"] or None,
        is_active=loaded["active"] is not False,
        is_temporarily_disabled=bool(method["temporarily_disabled"]),
    )


def parse_subscription_secret(value: object) -> str:
    """The secret, which only the reply to the creation holds (Webhooks: Verifying Signatures)."""
    secret = load(_SUBSCRIPTION, value, "webhook_subscription")["delivery_method"]["secret"]
    if not secret:
        where = "webhook_subscription.delivery_method.secret"
        raise PayloadError(f"{where}: a new subscription must carry its secret", field=where)
    return str(secret)


def parse_log_entry(value: object) -> LogEntry:
    loaded = load(_LOG_ENTRY, value, "log_entry")
    return LogEntry(
        id=loaded["id"],
        type=loaded["type"],
        created_at=loaded["created_at"],
        incident_id=loaded["incident"]["id"] if loaded["incident"] else None,
        by=loaded["agent"],
        channel=loaded["channel"][0],
        text=loaded["channel"][1],
    )
