"""A PagerDuty incident, its notes, and what a webhook says about them, in our own terms.

Knows PagerDuty's words but not its wire: parsing and HTTP live in `pagerduty/`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pagerduty_sync.domain.cases import Actor


class IncidentStatus(StrEnum):
    TRIGGERED = "triggered"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"

    @property
    def is_open(self) -> bool:
        return self is not IncidentStatus.RESOLVED


RESOLUTION_NOTE_PREFIX = "Resolution Note:"
"""How PagerDuty marks the note of "resolve with a note"; nothing else joins the two webhooks."""


@dataclass(frozen=True, slots=True)
class Incident:
    """An incident as a REST reply or a webhook showed it.

    `seen_at` is the watermark of the observation in PagerDuty's clock: `occurred_at` of a webhook, `updated_at` or
    `last_status_change_at` (the later) of a REST reply. `status_changed_at` is when the status last changed, when the
    observation tells. `priority_id` None means no priority. `merged_into` is the target incident's id after a merge.
    `by` is who last changed the status (REST) or caused the event (webhook); None for automation. `read_at` is set on
    REST replies only: the reply's `Date` header, so the same clock, in whole seconds.
    """

    id: str
    status: IncidentStatus
    seen_at: datetime
    number: int = 0
    title: str = ""
    html_url: str = ""
    service_id: str = ""
    incident_key: str | None = None
    priority_id: str | None = None
    urgency: str = ""
    status_changed_at: datetime | None = None
    merged_into: str | None = None
    by: Actor | None = None
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """A note on an incident. `is_trimmed` means the text is only the beginning: read the notes for the rest."""

    id: str
    text: str
    by: Actor | None = None
    created_at: datetime | None = None
    is_trimmed: bool = False

    @property
    def resolution_text(self) -> str | None:
        """The text behind `Resolution Note:`, None for an ordinary note."""
        head, _, rest = self.text.lstrip().partition(RESOLUTION_NOTE_PREFIX)
        return rest.strip() if not head and self.text.lstrip().startswith(RESOLUTION_NOTE_PREFIX) else None


@dataclass(frozen=True, slots=True)
class IncidentEvent:
    """One webhook, understood. `incident` is set when the body carried the whole incident, `note` for a new note."""

    id: str
    event_type: str
    occurred_at: datetime
    incident_id: str | None
    agent: Actor | None = None
    incident: Incident | None = None
    note: Note | None = None

    @property
    def is_ping(self) -> bool:
        return self.event_type == "pagey.ping"


@dataclass(frozen=True, slots=True)
class Priority:
    """One entry of the account's priority list, which is ordered most severe first."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Service:
    id: str
    name: str
    status: str = "active"
    html_url: str = ""


@dataclass(frozen=True, slots=True)
class User:
    id: str
    name: str
    email: str
    html_url: str = ""
    role: str = ""
