"""Which lines of PagerDuty's log tell something new, and which pairs a list shows to differ."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.incidents import IncidentStatus
from pagerduty_sync.domain.links import NOTHING_SEEN, Link, LinkState, Seen
from pagerduty_sync.domain.reading import IDLE_LINES, NOTE_LINE, STATUS_OF_LINE, differs, is_ours, is_told
from pagerduty_sync.pagerduty.resources import parse_log_entry
from tests.link_builders import an_incident

AT = datetime(2026, 4, 1, 12, 0, 5, tzinfo=UTC)
US, ADA = "PBOT001", "PADA001"


def a_link(status: str | None, at: datetime = AT) -> Link:
    link = Link("1", "2", "CASE-1", "3", "4", "S", "case-2", LinkState.LINKED, dict(NOTHING_SEEN), incident_id="Q1")
    return link.see(Field.STATUS, Seen(status, at, at, is_read=False)) if status else link


@pytest.mark.parametrize(
    ("by", "kind", "channel", "text", "ours"),
    [
        pytest.param(US, "acknowledge_log_entry", "api", "", True, id="our own write"),
        pytest.param(US, "acknowledge_log_entry", "website", "", False, id="a person with our user"),
        pytest.param(US, "acknowledge_log_entry", "", "", False, id="a line that does not say"),
        pytest.param(US, NOTE_LINE, "note", "Jane Doe on CASE-1: seen [c-7f3a9b21]", True, id="our own note"),
        pytest.param(US, NOTE_LINE, "note", "see [c-7f3a9b21] above", False, id="a note that quotes ours"),
        pytest.param(US, NOTE_LINE, "api", "by hand", False, id="a person's note over the API"),
        pytest.param(ADA, NOTE_LINE, "note", "seen [c-7f3a9b21]", False, id="somebody else's"),
        pytest.param(None, "resolve_log_entry", "auto", "", False, id="nobody's"),
    ],
)
def test_a_write_of_ours_is_known_by_how_it_came(
    by: str | None, kind: str, channel: str, text: str, ours: bool
) -> None:
    assert is_ours(US, by, kind, channel, text) is ours


@pytest.mark.parametrize(
    ("seen", "late_ms", "kind", "told"),
    [
        pytest.param("acknowledged", 300, "acknowledge_log_entry", True, id="the webhook told it"),
        pytest.param("acknowledged", 300, "resolve_log_entry", False, id="another change in that second"),
        pytest.param("acknowledged", -1, "acknowledge_log_entry", False, id="what is known is older"),
        pytest.param("resolved", 1_000, "acknowledge_log_entry", True, id="what is known is later"),
        pytest.param(None, 0, "trigger_log_entry", False, id="nothing is known"),
        pytest.param("acknowledged", 9_000, "priority_change_log_entry", False, id="a type nobody described"),
    ],
)
def test_what_is_known_already_is_not_read(seen: str | None, late_ms: int, kind: str, told: bool) -> None:
    assert is_told(a_link(seen, AT + timedelta(milliseconds=late_ms)), kind, AT) is told


@given(st.sampled_from(sorted(STATUS_OF_LINE)), st.sampled_from(IncidentStatus), st.integers(-5_000, 5_000))
def test_nothing_newer_than_what_is_known_counts_as_told(kind: str, status: IncidentStatus, late_ms: int) -> None:
    """A line may stand for any moment of its second; only its own status or a later second surely covers it."""
    told = is_told(a_link(status.value, AT + timedelta(milliseconds=late_ms)), kind, AT)
    if late_ms < 0:
        assert not told
    if 0 <= late_ms < 1_000:
        assert told is (STATUS_OF_LINE[kind] is status)


def test_idle_lines_are_about_nothing_a_case_has() -> None:
    assert not IDLE_LINES & {*STATUS_OF_LINE, NOTE_LINE, "urgency_change_log_entry", "merge_log_entry"}


def test_a_list_shows_a_difference_in_status_or_priority() -> None:
    incident = an_incident(id="Q1")
    link = a_link(incident.status.value)
    assert differs(link, incident), "its priority is not known"
    link = link.see(Field.PRIORITY, Seen(incident.priority_id, AT, AT, is_read=True))
    assert not differs(link, incident)
    assert differs(link, replace(incident, status=IncidentStatus.RESOLVED))
    assert differs(link, replace(incident, priority_id="P-OTHER"))


@pytest.mark.parametrize("channel", [None, "api", 7, {}, {"type": 5}, {"type": "api", "summary": None}])
def test_a_channel_of_any_form_is_read(channel: object) -> None:
    line = {"id": "R1", "type": "resolve_log_entry", "created_at": "2026-04-01T12:00:05Z", "channel": channel}
    shown = parse_log_entry(line)
    expected = "api" if channel == {"type": "api", "summary": None} else ""
    assert (shown.channel, shown.text) == (expected, "")
