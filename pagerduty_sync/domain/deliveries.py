"""A delivery: one logged attempt in one direction, with its outcome and a named reason."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum


class Direction(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


class Outcome(StrEnum):
    SENDING = "sending"
    DELIVERED = "delivered"
    DEFERRED = "deferred"
    FAILED = "failed"
    IGNORED = "ignored"
    REJECTED = "rejected"


class Reason(StrEnum):
    """Why an attempt ended as it did. The comment is what an operator would be told."""

    # done
    APPLIED = "applied"  # written to the other side
    IN_STEP = "in_step"  # both sides already agree
    ADOPTED = "adopted"  # the incident was already there under our key
    HEALED = "healed"  # learned by reading, not by an event
    REPLAYED = "replayed"  # done again on an operator's word
    MERGED = "merged"  # the incident was merged; the link follows or ends
    UNLINKED = "unlinked"  # an operator took Case and incident apart
    NOTED = "noted"  # kept for the moment it applies, e.g. a resolution note before the resolve
    CHECKED = "checked"  # the incident has to be read, or was read, before deciding
    # nothing to do
    ECHO = "echo"  # our own change coming back
    STALE = "stale"  # older than what is already known
    DUPLICATE = "duplicate"  # seen before
    NO_LINK = "no_link"  # the incident belongs to no Case
    NO_ROUTE = "no_route"  # no routing rule matches the Case
    NOT_OPEN = "not_open"  # the Case is not (or no longer) in a state that opens an incident
    PING = "ping"  # PagerDuty's test event
    NOT_SYNCED = "not_synced"  # an event type that changes nothing on a Case
    CASE_CLOSED = "case_closed"  # a closed Case only takes comments; closing changes no incident
    CASE_CANNOT_REOPEN = "case_cannot_reopen"
    CASE_NOT_OPEN = "case_not_open"  # a resolved Case takes no priority
    INCIDENT_NEVER_REOPENED = "incident_never_reopened"  # the incident is resolved; we never re-open it
    NO_EQUIVALENT = "no_equivalent"  # the other side has no word for this change
    DIRECTION_OFF = "direction_off"
    UNACKNOWLEDGE_OFF = "unacknowledge_off"
    UNMAPPED_PRIORITY = "unmapped_priority"
    LINK_ENDED = "link_ended"
    OVERRULED = "overruled"  # both sides changed; the other one wins
    # waiting
    WAITS_FOR_ACTIVATION = "waits_for_activation"
    WAITS_FOR_OPENING = "waits_for_opening"
    RATE_LIMITED = "rate_limited"
    DISCONNECTED = "disconnected"
    UNAVAILABLE = "unavailable"  # 5xx, 408 or no answer
    NO_REPLY = "no_reply"  # the call may or may not have been done: look before the next try
    # refused
    REJECTED_SIGNATURE = "rejected_signature"
    UNKNOWN_EVENT = "unknown_event"
    UNREADABLE = "unreadable"
    REFUSED = "refused"  # PagerDuty's or the Case system's final no; parked
    GAVE_UP = "gave_up"  # retried to the end
    DEFECT = "defect"  # the sync itself failed on this link; its log has the trace
    LOOP_SUSPECTED = "loop_suspected"  # too many writes of ours in one minute: this link stands still until looked at
    NOT_FOUND = "not_found"  # the incident or Case is gone


@dataclass(frozen=True, slots=True)
class Delivery:
    """One row of `notification_deliveries`. `id` and `at` are set by the store."""

    direction: Direction
    operation: str
    outcome: Outcome
    reason: Reason
    detail: str = ""
    case_id: str | None = None
    case_name: str = ""
    incident_id: str = ""
    link_id: str | None = None
    connector_id: str | None = None
    integration_id: str | None = None
    attempt: int = 1
    http_status: int | None = None
    duration_ms: int | None = None
    request_id: str = ""
    event_id: str = ""
    cause: str = ""
    actor: str = ""
    id: int | None = None
    at: datetime | None = None

    def ended(self, outcome: Outcome, reason: Reason, detail: str = "") -> Delivery:
        """The same attempt with its end."""
        return replace(self, outcome=outcome, reason=reason, detail=detail or self.detail)


_DELIVERED = {
    Reason.APPLIED,
    Reason.ADOPTED,
    Reason.HEALED,
    Reason.REPLAYED,
    Reason.MERGED,
    Reason.UNLINKED,
    Reason.CHECKED,
}
_DEFERRED = {
    Reason.NOTED,
    Reason.WAITS_FOR_ACTIVATION,
    Reason.WAITS_FOR_OPENING,
    Reason.RATE_LIMITED,
    Reason.DISCONNECTED,
    Reason.UNAVAILABLE,
    Reason.NO_REPLY,
}
_FAILED = {
    Reason.REFUSED,
    Reason.GAVE_UP,
    Reason.DEFECT,
    Reason.LOOP_SUSPECTED,
    Reason.NOT_FOUND,
    Reason.UNREADABLE,
    Reason.UNKNOWN_EVENT,
}


def outcome_of(reason: Reason) -> Outcome:
    """The outcome an attempt with this reason has, unless something was written all the same."""
    if reason in _DELIVERED:
        return Outcome.DELIVERED
    if reason in _DEFERRED:
        return Outcome.DEFERRED
    if reason in _FAILED:
        return Outcome.FAILED
    return Outcome.REJECTED if reason is Reason.REJECTED_SIGNATURE else Outcome.IGNORED
