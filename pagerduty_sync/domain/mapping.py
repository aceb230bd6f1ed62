"""The tables: how statuses, priorities and texts of one side read on the other. Vendor limits on text live here too."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from pagerduty_sync.domain.cases import Actor, Case, CasePriority, CaseStatus
from pagerduty_sync.domain.incidents import RESOLUTION_NOTE_PREFIX, IncidentStatus

INCIDENT_STATUS: Mapping[CaseStatus, IncidentStatus] = {
    CaseStatus.ACTIVE: IncidentStatus.TRIGGERED,
    CaseStatus.ACKNOWLEDGED: IncidentStatus.ACKNOWLEDGED,
    CaseStatus.RESOLVED: IncidentStatus.RESOLVED,
}
"""PENDING_ACTIVATION and CLOSED have no word in PagerDuty."""

CASE_RANK: Mapping[CaseStatus, int] = {
    CaseStatus.PENDING_ACTIVATION: 0,
    CaseStatus.ACTIVE: 0,
    CaseStatus.ACKNOWLEDGED: 1,
    CaseStatus.RESOLVED: 2,
    CaseStatus.CLOSED: 3,
}
INCIDENT_RANK: Mapping[IncidentStatus, int] = {
    IncidentStatus.TRIGGERED: 0,
    IncidentStatus.ACKNOWLEDGED: 1,
    IncidentStatus.RESOLVED: 2,
}
"""When both sides moved, the one that got further wins."""

# Events API v2 limits a summary, which becomes a title, to 1,024 characters; no page limits a title itself.
TITLE_CHARACTERS = 1024
# Whether REST counts characters or bytes is not known. A title of so many bytes is short enough either way.
TITLE_BYTES = 1024
# "Edit Incidents" (support page): a note holds 65,535 single-byte characters.
NOTE_BYTES = 65_535
# Cases API: comment text 1..10000, a resolution reason on resolve or update 1..500.
COMMENT_CHARACTERS = 10_000
RESOLUTION_REASON_CHARACTERS = 500

CUT_MARK = "… [cut]"
ZERO_WIDTH_JOINER = "\u200d"
LONGEST_CLUSTER = 32
"""More code points than any character people write is made of."""

UNMAPPED = object()
"""Answered where the priority table has no entry; never guessed around."""


def case_priority_value(case: Case) -> str:
    """The raw value of a Case's priority for comparing: whether it is overridden matters as much as what it is."""
    return f"{'override' if case.override_priority else 'system'}:{case.priority}"


def priority_for_incident(
    case_value: str, agreed_case_value: str | None, table: Mapping[CasePriority, str]
) -> str | object | None:
    """The priority id that `case_value` asks for; None clears it; UNMAPPED when the table has no entry.

    An override taken off clears the incident's priority, as a cleared priority takes the override off.
    """
    origin, _, name = case_value.partition(":")
    if origin == "system" and (agreed_case_value or "").startswith("override:"):
        return None
    return table.get(CasePriority(name), UNMAPPED)


def priority_for_case(
    priority_id: str, effective: CasePriority, table: Mapping[CasePriority, str]
) -> CasePriority | object:
    """The Case priority an incident priority stands for; UNMAPPED when none does.

    Where several Case priorities share one id, the one the Case already has is kept, else the most severe is taken.
    """
    matching = [name for name in CasePriority if table.get(name) == priority_id]
    if not matching:
        return UNMAPPED
    return effective if effective in matching else matching[0]


def cut_characters(text: str, limit: int) -> str:
    """`text`, no longer than `limit` characters, marked where it was cut."""
    return text if len(text) <= limit else _beginning(text, limit - len(CUT_MARK)) + CUT_MARK


def cut_bytes(text: str, limit: int) -> str:
    """`text`, no longer than `limit` bytes of UTF-8, marked where it was cut and never cut within a character."""
    raw = text.encode("utf-8", "replace")
    text = raw.decode("utf-8")
    if len(raw) <= limit:
        return text
    room = limit - len(CUT_MARK.encode())
    return _beginning(text, len(raw[:room].decode("utf-8", "ignore"))) + CUT_MARK


def _beginning(text: str, end: int) -> str:
    """The first `end` characters or a few less, so that no letter is parted from its accents, no emoji from its parts.

    What carries more marks than any writing does is cut wherever it comes.
    """
    for shorter in range(end, max(end - LONGEST_CLUSTER, 0), -1):
        if not _continues(text[shorter]) and text[shorter - 1] != ZERO_WIDTH_JOINER:
            return text[:shorter]
    return text[:end]


def _continues(character: str) -> bool:
    """Whether it belongs to the character before it: an accent, a variation selector, a joiner."""
    return character == ZERO_WIDTH_JOINER or unicodedata.category(character).startswith("M")


def note_text(author: Actor, case_name: str, text: str, marker: str) -> str:
    """How a Case's comment reads as a note: who, on which Case, what, and the reference that names it."""
    tail = f" {marker}"
    return cut_bytes(f"{author.label} on {case_name}: {text}", NOTE_BYTES - len(tail.encode())) + tail


def resolution_note_text(author: Actor, case_name: str, text: str, marker: str) -> str:
    """How a Case's resolution note reads as a note, with PagerDuty's own prefix."""
    tail = f" ({author.label} on {case_name}) {marker}"
    return cut_bytes(f"{RESOLUTION_NOTE_PREFIX} {text}", NOTE_BYTES - len(tail.encode())) + tail


def final_note_text(author: Actor, case_name: str, marker: str) -> str:
    """The one note an open incident gets when its Case is closed."""
    return f"{case_name} was closed by {author.label}. This incident is left as it is. {marker}"
