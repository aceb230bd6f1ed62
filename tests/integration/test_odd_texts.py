"""Notes that are deleted, too many or too long, and titles that are too long: no words are lost or stand twice.

Where PagerDuty's behaviour is not confirmed, a switch of the simulator plays it both ways.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from pagerduty_sync.domain.cases import CasePriority, CaseStatus
from pagerduty_sync.domain.links import Link
from pagerduty_sync.simulator import seeds
from tests.harness import JANE, Harness, a_harness
from tests.odd_stand import ask, hear, our_writes, reads_nothing_more, told

SILENT = {"webhook_drop": {"probability": 1.0}}
LOST_NOTE = {"lose_reply": {"next": 1, "match": {"method": "POST", "path": "/notes"}}}
LONG = "é" * 32_000 + "the end"


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        yield made


def delete_note(harness: Harness, case_id: str, words: str) -> None:
    incident = harness.incident(case_id)
    (note_id,) = [note["id"] for note in incident["notes"] if words in note["content"]]
    headers = {"Authorization": f"Token token={seeds.FULL_KEY}"}
    url = f"{harness.simulator_url}/incidents/{incident['id']}/notes/{note_id}"
    assert requests.delete(url, headers=headers, timeout=10).status_code == 204


def read_notes(harness: Harness, case_id: str) -> None:
    harness.application.links.want_notes([harness.link(case_id).id], 0, "reconcile")
    harness.run()


# ------------------------------------------------------------------ deleted notes


@pytest.mark.parametrize("way", ["webhook", "reconcile"])
def test_a_responders_note_that_is_deleted_stays_on_the_case(harness: Harness, way: str) -> None:
    case = harness.open_case()
    hear(harness, case.id, way, lambda: harness.add_note(case.id, "wrong incident, sorry"))
    delete_note(harness, case.id, "sorry")
    read_notes(harness, case.id)
    assert harness.comments(case.id).count("wrong incident, sorry") == 1
    assert harness.notes(case.id) == []
    assert our_writes(harness) == ["open"]
    assert reads_nothing_more(harness)


def test_a_note_of_ours_that_is_deleted_is_not_posted_again(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.add_comment(case.id, JANE, "not for everybody")
    harness.run()
    delete_note(harness, case.id, "not for everybody")
    read_notes(harness, case.id)
    ask(harness, case.id, "reconcile")
    assert harness.notes(case.id) == []
    assert harness.comments(case.id).count("not for everybody") == 1
    assert our_writes(harness) == ["open", "note"]


@pytest.mark.parametrize("is_heard_of", [True, False], ids=["its webhook came", "nobody knew that it stood"])
def test_a_note_deleted_while_its_reply_is_awaited_is_posted_again_only_if_nobody_knew_of_it(
    harness: Harness, is_heard_of: bool
) -> None:
    """What stood unseen and is gone cannot be told from what never stood: it shall stand once, so it is written."""
    case = harness.open_case()
    harness.faults(**LOST_NOTE, **({} if is_heard_of else SILENT))
    harness.application.cases.add_comment(case.id, JANE, "once only")
    harness.run()
    delete_note(harness, case.id, "once only")
    harness.hurry()
    harness.run()
    assert harness.reasons(case.id, "post_note") == (["no_reply"] if is_heard_of else ["no_reply", "applied"])
    assert sum("once only" in note for note in harness.notes(case.id)) == (0 if is_heard_of else 1)
    read_notes(harness, case.id)
    assert len(our_writes(harness)) == (2 if is_heard_of else 3)
    assert harness.comments(case.id).count("once only") == 1


@pytest.mark.parametrize("shows", ["beginning", "nothing"])
def test_a_trimmed_note_that_is_deleted_before_it_is_read_leaves_its_row_and_nothing_waits(
    harness: Harness, shows: str
) -> None:
    harness.faults(trimmed_note=shows, note_trim_bytes=100)
    case = harness.open_case()
    before = harness.comments(case.id)
    harness.faults(rate_limit={"next": 1, "skip": 1, "match": {"path": "/notes"}})
    harness.add_note(case.id, LONG)
    harness.run()
    assert harness.reasons(case.id, "read_notes") == ["rate_limited"]
    delete_note(harness, case.id, "the end")
    harness.hurry()
    harness.run()
    assert harness.comments(case.id) == before
    assert harness.reasons(case.id, "incident.annotated") == ["checked"]
    assert harness.reasons(case.id, "read_notes") == ["rate_limited", "checked"]
    assert not harness.link(case.id).wants_notes
    assert reads_nothing_more(harness)


# ------------------------------------------------------------------ 2,000 notes


def parked_notes(link: Link) -> list[str]:
    return [parked.detail for key, parked in link.parked.items() if key.startswith("note:")]


@pytest.mark.parametrize("refusal", ["400 2001", "400 2019", "402 2019", "403 2019"])
def test_a_note_beyond_the_cap_is_parked_with_its_words_and_the_rest_flows_on(harness: Harness, refusal: str) -> None:
    case = harness.open_case()
    harness.faults(notes_limit=1, notes_limit_refusal=refusal)
    harness.add_note(case.id, "the last one there is room for")
    harness.run()
    harness.application.cases.add_comment(case.id, JANE, "one too many")
    harness.application.cases.override_priority(case.id, JANE, CasePriority.P1)
    harness.application.cases.acknowledge(case.id, JANE)
    harness.run()
    assert harness.incident(case.id)["status"] == "acknowledged"
    assert harness.incident(case.id)["priority"]["id"] == seeds.PRIORITY_IDS["P1"]
    (words,) = parked_notes(harness.link(case.id))
    assert "cannot have more than 1 notes" in words
    assert harness.reasons(case.id, "post_note") == ["refused"]
    # A later one is tried, once, and a resolution note keeps no incident from being resolved.
    harness.application.cases.add_comment(case.id, JANE, "two too many")
    harness.application.cases.resolve(case.id, JANE, "rolled back")
    harness.run()
    harness.hurry()
    harness.run()
    assert harness.incident(case.id)["status"] == "resolved"
    assert len(parked_notes(harness.link(case.id))) == 3
    assert our_writes(harness).count("note refused") == 3
    assert harness.comments(case.id).count("one too many") == 1


def test_an_operator_tries_a_refused_note_again_or_lets_it_be(harness: Harness) -> None:
    case = harness.open_case()
    harness.faults(notes_limit=1)
    harness.add_note(case.id, "full")
    harness.run()
    for text in ("to be tried again", "to be let be"):
        harness.application.cases.add_comment(case.id, JANE, text)
        harness.run()
    ledger = harness.application.ledger.of_link(harness.link(case.id).id)
    keys = {entry.text: f"note:{entry.source_id}" for entry in ledger.entries if entry.direction == "outbound"}
    again, dropped = keys["to be tried again"], keys["to be let be"]
    assert set(harness.link(case.id).parked) == {again, dropped}
    care = harness.application.link_care
    care.drop(harness.link(case.id).id, dropped, who="jane")
    care.retry(harness.link(case.id).id, again, who="jane")
    harness.run()
    assert len(parked_notes(harness.link(case.id))) == 1
    harness.faults(notes_limit=2)
    care.retry(harness.link(case.id).id, again, who="jane")
    harness.run()
    assert harness.link(case.id).parked == {}
    assert [("again" in note, "let be" in note) for note in harness.notes(case.id)] == [(False, False), (True, False)]


# ------------------------------------------------------------------ long notes


@pytest.mark.parametrize("shows", ["beginning", "nothing"])
def test_a_note_of_65535_bytes_is_read_whole_and_cut_to_what_a_comment_holds(harness: Harness, shows: str) -> None:
    harness.faults(trimmed_note=shows)
    case = harness.open_case()
    text = (LONG * 2).encode()[:65_535].decode("utf-8", "ignore")
    hear(harness, case.id, "webhook", lambda: harness.add_note(case.id, text))
    (comment,) = [one for one in harness.comments(case.id) if one.startswith("é")]
    assert len(comment) == 10_000 and comment.endswith("… [cut]")
    read_notes(harness, case.id)
    assert told(harness, case.id, "é") == 1
    assert harness.reasons(case.id, "incident.annotated") == ["checked"]


@pytest.mark.parametrize("order", ["note_first", "resolve_first"])
def test_a_long_resolution_note_is_the_reason_as_far_as_it_goes_and_told_further(harness: Harness, order: str) -> None:
    case = harness.open_case()
    harness.faults(resolution_creates_note=True, resolution_note_order=order)
    harness.next_second()
    harness.set_incident(case.id, status="resolved", resolution=LONG[:20_000])
    harness.run()
    after = harness.case(case.id)
    assert after.status is CaseStatus.RESOLVED
    assert after.resolution_reason is not None and after.resolution_reason.endswith("é… [cut]")
    (comment,) = [one for one in harness.comments(case.id) if one.startswith("Resolution note: é")]
    assert len(comment) == 10_000 and comment.endswith("… [cut]")
    assert "refused" not in harness.reasons(case.id)


def test_a_long_resolution_note_after_the_case_was_closed_is_told_as_far_as_a_comment_reaches(harness: Harness) -> None:
    case = harness.open_case()
    harness.application.cases.close(case.id, JANE)
    harness.run()
    hear(harness, case.id, "webhook", lambda: harness.add_note(case.id, f"Resolution Note: {LONG[:20_000]}"))
    assert told(harness, case.id, "Resolution note in PagerDuty: é") == 1
    assert harness.reasons(case.id, "incident.annotated")[-1] == "case_closed"


@pytest.mark.parametrize("creates_note", [True, False])
def test_a_long_reason_of_the_case_is_not_cut_by_its_own_echo(
    database_url: str, redis_url: str, tmp_path: Path, creates_note: bool
) -> None:
    with a_harness(database_url, redis_url, tmp_path, resolution_notes="log_entry") as harness:
        harness.faults(resolution_creates_note=creates_note)
        case = harness.open_case()
        harness.application.cases.resolve(case.id, JANE, "rolled back " * 100 + "twice")
        harness.run()
        assert (harness.case(case.id).resolution_reason or "").endswith("twice")
        assert told(harness, case.id, "rolled back") == 0
        assert harness.incident(case.id)["status"] == "resolved"


@pytest.mark.parametrize("text", ["😀" * 10_000, "e\u0301\u0323" * 3_333], ids=["four bytes each", "accents"])
@pytest.mark.parametrize("shows", ["beginning", "nothing"])
def test_the_longest_comment_stands_whole_and_once_though_its_webhook_is_trimmed_and_its_reply_lost(
    harness: Harness, text: str, shows: str
) -> None:
    case = harness.open_case()
    harness.faults(**LOST_NOTE, trimmed_note=shows, note_trim_bytes=2_000)
    harness.application.cases.add_comment(case.id, JANE, text)
    harness.run()
    harness.hurry()
    harness.run()
    (note,) = harness.notes(case.id)
    assert note.startswith(f"Jane Doe on {case.name}: {text} [c-")
    assert harness.comments(case.id).count(text) == 1
    assert our_writes(harness) == ["open", "note"]
    assert harness.reasons(case.id, "post_note") == ["no_reply"]


# ------------------------------------------------------------------ long titles


@pytest.mark.parametrize("counts", ["characters", "bytes"])
@pytest.mark.parametrize("answer", ["accept", "cut", "refuse"])
def test_a_long_title_is_cut_and_marked_and_no_page_fails(harness: Harness, counts: str, answer: str) -> None:
    harness.faults(title_counts=counts, long_title=answer)
    title = "結帳頁面很慢" * 85
    case = harness.open_case(title)
    incident = harness.incident(case.id)
    assert incident["status"] == "triggered"
    assert incident["title"].startswith(f"{case.name}: 結帳") and incident["title"].endswith("… [cut]")
    assert len(incident["title"].encode()) <= 1024
    assert title in incident["body"]["details"]
    assert harness.reasons(case.id, "open_incident") == ["applied"]
    assert harness.case(case.id).status is CaseStatus.ACTIVE
