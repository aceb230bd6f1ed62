"""What reading by the clock concludes: which pairs differ from a list, which lines of the log tell something new."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta

from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.incidents import Incident, IncidentStatus
from pagerduty_sync.domain.links import Link

NOTE_LINE = "annotate_log_entry"
_REFERENCE = re.compile(r"\[c-[0-9a-z]{8}\]\s*$")

# Types of the REST API description (List log entries) that change nothing a Case has.
IDLE_LINES = frozenset(
    f"{kind}_log_entry"
    for kind in (
        "assign",
        "custom_field_value_change",
        "delegate",
        "escalate",
        "exhaust_escalation_path",
        "notify",
        "reach_ack_limit",
        "reach_trigger_limit",
        "repeat_escalation_path",
        "snooze",
    )
)
STATUS_OF_LINE = {
    "acknowledge_log_entry": IncidentStatus.ACKNOWLEDGED,
    "resolve_log_entry": IncidentStatus.RESOLVED,
    "trigger_log_entry": IncidentStatus.TRIGGERED,
    "unacknowledge_log_entry": IncidentStatus.TRIGGERED,
}


@dataclass(frozen=True, slots=True)
class LogPlace:
    """A page of the account's log, newest lines first: those before an instant (None: all), from an offset on."""

    before: datetime | None = None
    offset: int = 0


NEWEST = LogPlace()
"""Where a reading of the log begins."""


def differs(link: Link, incident: Incident) -> bool:
    """Whether what a list shows of an incident is not what is known of it."""
    status, priority = link.seen(Field.STATUS), link.seen(Field.PRIORITY)
    return (
        status is None
        or status.value != incident.status.value
        or priority is None
        or priority.value != incident.priority_id
    )


def is_ours(user_id: str, by: str | None, kind: str, channel: str, text: str) -> bool:
    """Whether a line of the log is about a write of ours, and not by a person who shares our user.

    A note of ours ends with its reference. Every other write of ours came through the API. Nobody warrants that a line
    says which way it came: one that does not is read, which costs a call and loses nothing.
    """
    if by != user_id:
        return False
    return bool(_REFERENCE.search(text)) if kind == NOTE_LINE else channel == "api"


def is_told(link: Link, kind: str, at: datetime) -> bool:
    """Whether what a line of the log tells is known already, from a webhook or an earlier read.

    Lines carry whole seconds: within one second only the same status counts as known. A line whose type nobody has
    described may be about anything, and is not known.
    """
    status, seen = STATUS_OF_LINE.get(kind), link.seen(Field.STATUS)
    if status is None or seen is None:
        return False
    return seen.at >= at + timedelta(seconds=1) or (seen.at >= at and seen.value == status.value)
