"""Checks what a request wants of an incident and says it in records of our own, or refuses with PagerDuty's errors.

Changes nothing: checking apart from applying is what makes a bulk update all-or-nothing ("Update incidents" API page).
Unknown and read-only properties are ignored ("REST API Overview": properties of a write).
"""

from dataclasses import dataclass
from typing import Any, Final

from .errors import ApiError, conflicting, invalid
from .faults import Knobs
from .model import Actor, Incident, Json
from .state import Account


class _Unset:
    """Tells "not mentioned" from null, which clears."""


UNSET: Final = _Unset()

STATUSES = ("triggered", "acknowledged", "resolved")
TITLE_LIMIT = 1024


@dataclass(frozen=True)
class Creation:
    title: str
    service_id: str
    key: str | None
    priority_id: str | None
    urgency: str
    body: Any
    assignees: tuple[str, ...]
    policy_id: str | None
    incident_type: str
    conference_bridge: Json | None


@dataclass(frozen=True)
class Change:
    status: str | None = None
    resolution: str | None = None
    title: str | None = None
    urgency: str | None = None
    priority_id: str | _Unset | None = UNSET
    level: int | None = None
    assignees: tuple[str, ...] | None = None
    policy_id: str | None = None
    service_id: str | None = None
    incident_type: str | None = None
    conference_bridge: Json | _Unset | None = UNSET


def check_creation(account: Account, knobs: Knobs, fields: Json) -> Creation:
    """POST /incidents: type, title and service are required ("Create an incident" API page)."""
    if fields.get("type") != "incident":
        raise invalid("Incident type must be 'incident'.")
    title = _title(knobs, fields.get("title"))
    service_id = _known(account.services, fields.get("service"), "Service")
    if fields.get("assignments") and fields.get("escalation_policy"):
        raise invalid("Assignments and escalation policy are mutually exclusive.")
    key = _text_or_none("incident_key", fields.get("incident_key")) or None
    if key and account.open_with_key(service_id, key):
        # Words as reported by several clients; an open incident with this key is on the service.
        raise conflicting("Open incident with matching dedup key already exists on this service")
    priority_id = _priority(account, fields["priority"]) if fields.get("priority") is not None else None
    policy = fields.get("escalation_policy")
    return Creation(
        title=title,
        service_id=service_id,
        key=key,
        priority_id=priority_id,
        urgency=_urgency(fields.get("urgency")) or "high",
        body=_body(fields.get("body")),
        assignees=_assignees(account, fields.get("assignments")) or (),
        policy_id=_policy(account, policy) if policy is not None else None,
        incident_type=_incident_type(fields.get("incident_type")) or "incident_default",
        conference_bridge=_bridge(fields.get("conference_bridge")),
    )


def check_change(account: Account, knobs: Knobs, incident: Incident, fields: Json, actor: Actor) -> Change:
    """One item of PUT /incidents or the body of PUT /incidents/{id} ("Update an incident" API page)."""
    if fields.get("type") not in ("incident", "incident_reference"):
        raise invalid("Incident type must be 'incident' or 'incident_reference'.")
    if fields.get("assignments") and fields.get("escalation_policy"):
        raise invalid("Assignments and escalation policy are mutually exclusive.")
    policy, service, level = fields.get("escalation_policy"), fields.get("service"), fields.get("escalation_level")
    return Change(
        status=_status(knobs, incident, fields.get("status"), actor),
        resolution=_text_or_none("resolution", fields.get("resolution")),
        title=_title(knobs, fields["title"]) if "title" in fields else None,
        urgency=_urgency(fields.get("urgency")),
        priority_id=_changed_priority(account, fields),
        level=_level(account, incident, level) if level is not None else None,
        assignees=_assignees(account, fields.get("assignments")),
        policy_id=_policy(account, policy) if policy is not None else None,
        service_id=_known(account.services, service, "Service") if service is not None else None,
        incident_type=_incident_type(fields.get("incident_type")),
        conference_bridge=_bridge(fields["conference_bridge"]) if "conference_bridge" in fields else UNSET,
    )


def _status(knobs: Knobs, incident: Incident, status: object, actor: Actor) -> str | None:
    if status is None:
        return None
    if status not in STATUSES:
        raise invalid("Status must be one of triggered, acknowledged, resolved.", code=1003)
    if status == "triggered" and incident.status == "acknowledged":
        # Only time-outs, snooze ends and a raised urgency un-acknowledge; no request does.
        raise invalid("An acknowledged incident cannot be set to triggered.", code=1003)
    if status == incident.status == "resolved" and knobs.resolve_resolved == "refuse":
        raise invalid("Incident Already Resolved", code=1001)
    if status == incident.status == "acknowledged" and knobs.acknowledge_acknowledged == "refuse":
        raise invalid("Incident Already Acknowledged", code=1002)
    if status == "acknowledged" and actor.user_id is None:
        raise invalid("Requester User Not Found", code=1008)
    return str(status)


def _title(knobs: Knobs, title: object) -> str:
    if title is not None and not isinstance(title, str):
        raise invalid("Title must be a string.")
    if not title or not title.strip():
        raise invalid("Title cannot be empty.")
    # No page limits a title; 1024 is what a summary may hold that becomes one ("Send an alert event" API page).
    cut = title[:TITLE_LIMIT]
    if knobs.title_counts == "bytes":
        cut = title.encode("utf-8", "replace")[:TITLE_LIMIT].decode("utf-8", "ignore")
    if cut != title and knobs.long_title == "refuse":
        raise invalid(f"Title is too long (maximum is {TITLE_LIMIT} characters).")
    return cut if knobs.long_title == "cut" else title


def _text_or_none(name: str, value: object) -> str | None:
    if value is not None and not isinstance(value, str):
        raise invalid(f"{name.replace('_', ' ').capitalize()} must be a string.")
    return value


def _urgency(value: object) -> str | None:
    if value not in (None, "high", "low"):
        raise invalid("Urgency must be 'high' or 'low'.")
    return value if isinstance(value, str) else None


def _changed_priority(account: Account, fields: Json) -> str | _Unset | None:
    if "priority" not in fields:
        return UNSET
    # Null clears; PagerDuty's own applications do so although the schema does not list it.
    return None if fields["priority"] is None else _priority(account, fields["priority"])


def _priority(account: Account, value: object) -> str:
    """An object with an id, or a name: the highest priority of that name ("Update an incident" API page)."""
    if isinstance(value, str):
        for priority in account.priorities.values():
            if priority.name == value:
                return priority.id
        raise invalid("Priority Not Found", code=1020)
    if not isinstance(value, dict):
        raise invalid("Priority must be an object or a string.")
    id_ = value.get("id")
    if not id_:
        raise invalid("Priority id cannot be empty")
    if not isinstance(id_, str) or id_ not in account.priorities:
        raise invalid("Priority Not Found", code=1020)
    return id_


def _known(records: dict[str, Any], reference: object, name: str) -> str:
    id_ = reference.get("id") if isinstance(reference, dict) else None
    if not id_:
        raise invalid(f"{name} cannot be empty.")
    if not isinstance(id_, str) or id_ not in records:
        raise invalid(f"{name} Not Found")
    return id_


def _policy(account: Account, reference: object) -> str:
    id_ = reference.get("id") if isinstance(reference, dict) else None
    if not isinstance(id_, str) or id_ not in account.policies:
        raise invalid("Escalation Policy Not Found", code=1014)
    return id_


def _assignees(account: Account, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list):
        raise invalid("Assignments must be an array.")
    ids: list[str] = []
    for item in value:
        assignee = item.get("assignee") if isinstance(item, dict) else None
        id_ = assignee.get("id") if isinstance(assignee, dict) else None
        if not isinstance(id_, str) or id_ not in account.users:
            raise invalid("Assigned User Not Found", code=1007)
        ids.append(id_)
    return tuple(dict.fromkeys(ids))


def _level(account: Account, incident: Incident, level: object) -> int:
    known = len(account.policies[incident.policy_id].levels)
    if type(level) is not int or not 1 <= level <= known or not incident.is_open:
        raise invalid("Cannot Escalate Incident", code=1006)
    return level


def _body(value: object) -> Any:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("Body must be an object.")
    return value.get("details")


def _incident_type(value: object) -> str | None:
    if value is None:
        return None
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or not name:
        raise invalid("Incident type name cannot be empty.")
    return name


def _bridge(value: object) -> Json | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise invalid("Conference bridge must be an object.")
    parts = {name: value.get(name) for name in ("conference_number", "conference_url")}
    if any(part is not None and not isinstance(part, str) for part in parts.values()):
        raise invalid("Conference bridge number and url must be strings.")
    return parts


def check_note_content(knobs: Knobs, content: object) -> str:
    """At most 65,535 single-byte characters ("Edit Incidents" support page); how more is answered is not known."""
    if content is not None and not isinstance(content, str):
        raise invalid("Content must be a string.")
    if not content or not content.strip():
        raise invalid("Content cannot be empty.")
    encoded = content.encode("utf-8", "replace")
    if len(encoded) <= knobs.note_bytes:
        return encoded.decode()
    if knobs.long_note == "refuse":
        raise invalid(f"Content is too long (maximum is {knobs.note_bytes} characters)")
    return encoded[: knobs.note_bytes].decode("utf-8", "ignore")


def check_merge(account: Account, target: Incident, references: object, limit: int = 1000) -> list[Incident]:
    """The sources of a merge ("Merge incidents" API page): the target is open, 1000 alerts at most."""
    if not isinstance(references, list) or not references:
        raise invalid("Source incidents cannot be empty.")
    if not target.is_open:
        raise invalid("Cannot merge into a resolved incident.", code=2015)
    sources = {}
    for reference in references:
        id_ = reference.get("id") if isinstance(reference, dict) else None
        source = account.incident(id_) if isinstance(id_, str) else None
        if source is None:
            raise invalid("Source incident not found.")
        if source.id == target.id:
            raise invalid("An incident cannot be merged into itself.")
        if source.merged_into:
            raise ApiError(400, "Incident Already Merged", 1019)
        sources[source.id] = source
    if len(target.alerts) + sum(len(source.alerts) for source in sources.values()) > limit:
        raise invalid(f"Target incident would have more than {limit} alerts.")
    return list(sources.values())
