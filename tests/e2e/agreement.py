"""Do both sides agree, is nothing lost, is nothing doubled? Looked up from outside: API, simulator, database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from tests.e2e.breakable import Breakable, Json, until_empty
from tests.e2e.lives import Life

ENDS = {
    "led_by_pagerduty": ("CLOSED", "resolved"),
    "led_by_the_case": ("RESOLVED", "resolved"),
    "closed_early": ("CLOSED", "resolved"),
    "both_at_once": ("RESOLVED", "resolved"),
}
"""How the stories end; whoever has no end is still open."""

OPENED = "was opened for this Case"

UNFINISHED = {
    "links that are leased, dirty or due": """
        SELECT concat(case_name, ': lease ', lease_until, ', dirty ', dirty_at, ', due ', due_at, ', tries ', attempts)
               AS what
        FROM links WHERE lease_token IS NOT NULL OR dirty_at IS NOT NULL OR due_at IS NOT NULL""",
    "webhooks that wait": "SELECT id || ' ' || state AS what FROM inbox WHERE state IN ('received', 'waiting')",
    "changes of Cases that wait": "SELECT id || ' ' || kind AS what FROM case_events WHERE handled_at IS NULL",
    "texts that are not placed": """
        SELECT direction || ' ' || state || ' ' || text AS what
        FROM comment_ledger WHERE state IN ('intended', 'sending')""",
    "webhooks accepted without a word why": """
        SELECT i.id || ' ' || i.state AS what FROM inbox i
        WHERE NOT EXISTS (SELECT FROM notification_deliveries d WHERE d.cause = 'inbox:' || i.id)""",
    "deliveries without a reason": "SELECT operation AS what FROM notification_deliveries WHERE reason = ''",
    "Cases without their one link": """
        SELECT title AS what FROM cases c WHERE (SELECT count(*) FROM links l WHERE l.case_id = c.id) <> 1""",
    "what PagerDuty or a Case has refused": "SELECT case_name || parked::text AS what FROM links WHERE parked <> '{}'",
}


def assert_everything_agrees(breakable: Breakable, lives: Sequence[Life], seconds: float = 90.0) -> None:
    """Wait until nothing is left to do and both sides of all these lives agree; fail with what does not."""
    until_empty(lambda: [*_unfinished(breakable), *disagreements(breakable, lives)], "both sides agree", seconds)


def _unfinished(breakable: Breakable) -> Iterator[str]:
    """Work that is left, anywhere in the installation."""
    if pending := breakable.webhooks_pending():
        yield f"{pending} webhooks are on their way"
    for what, query in UNFINISHED.items():
        for row in breakable.rows(query):
            yield f"{what}: {row['what']}"
    yield from _not_taken_in(breakable)


def _not_taken_in(breakable: Breakable) -> Iterator[str]:
    """Webhooks PagerDuty got a 2xx for, and that we know nothing of."""
    known = {row["webhook_id"] for row in breakable.rows("SELECT webhook_id FROM inbox")}
    for attempt in breakable.attempts(outcome="delivered"):
        if attempt["webhook_id"] not in known:
            yield f"accepted and lost: {attempt['event_type']} of {attempt['incident_id']}"


def disagreements(breakable: Breakable, lives: Sequence[Life]) -> Iterator[str]:
    """What is not as it should be, of what is to be seen on the two sides."""
    incidents = breakable.simulator("GET", "/_sim/state")["incidents"]
    links = {str(row["case_id"]): row for row in breakable.rows("SELECT * FROM links")}
    by_key = Counter(incident["incident_key"] for incident in incidents)
    by_id = {incident["id"]: incident for incident in incidents}
    for key, count in by_key.items():
        if count > 1:
            yield f"{count} incidents under the key {key}"
    for life in lives:
        link = links.get(life.case_id)
        if link is None or link["incident_id"] not in by_id:
            yield f"{life.name} has no incident"
            continue
        for disagreement in _of_life(life, life.case(), life.comments_shown(), link, by_id[link["incident_id"]]):
            yield f"{life.kind}, {life.name}: {disagreement}"


def _of_life(life: Life, case: Json, comments: list[str], link: Json, incident: Json) -> Iterator[str]:
    notes = [note["content"] for note in incident["notes"]]
    if link["state"] != "linked":
        yield f"its link is {link['state']} ({link['ended_reason']})"
    if by_key := incident["incident_key"] != link["incident_key"]:
        yield f"its incident stands under another key ({by_key})"
    yield from _status(life, case, incident)
    yield from _texts(life, comments, notes)
    priority = (incident["priority"] or {}).get("summary")
    if life.is_priority_settled and priority != case["priority"]:
        yield f"the Case is {case['priority']}, the incident {priority}"
    if life.resolution is not None:
        yield from _resolution(life, case, comments, notes)


def _status(life: Life, case: Json, incident: Json) -> Iterator[str]:
    status = case["status"], incident["status"]
    if status != ENDS.get(life.kind, ("ACTIVE", "triggered")):
        yield f"the Case is {status[0]}, the incident {status[1]}"


def _texts(life: Life, comments: list[str], notes: list[str]) -> Iterator[str]:
    """Each text once here and once there, nothing twice, and nothing comes back to where it was written."""
    for text in (*life.comments, *life.notes):
        for where, texts in (("the Case", comments), ("the incident", notes)):
            count = sum(text in shown for shown in texts)
            if count != 1:
                yield f"{count} times on {where}: {text}"
    opened = sum(OPENED in text for text in comments)
    if opened != 1:
        yield f"it says {opened} times that its incident was opened"
    for where, texts in (("the Case", comments), ("the incident", notes)):
        # Our own notes end with a reference that differs: without it they would be the same.
        for text, count in Counter(text.partition(" [c-")[0] for text in texts).items():
            if count > 1:
                yield f"{count} times on {where}: {text}"
    # None when the incident was resolved before anybody came to tell it.
    told = sum("was closed by" in note for note in notes)
    if told > life.is_closed_early:
        yield f"the incident was told {told} times that the Case was closed"


def _resolution(life: Life, case: Json, comments: list[str], notes: list[str]) -> Iterator[str]:
    assert life.resolution is not None
    told = sum(life.resolution in text for text in comments)
    # A Case that was closed before the note arrived cannot take it any more, but for its timeline.
    stands = (life.resolution, 0), *([(None, 1)] if case["status"] == "CLOSED" else [])
    if (case["resolution_reason"], told) not in stands:
        yield f"the Case's resolution reason is {case['resolution_reason']}, and it stands in {told} comments"
    count = sum(life.resolution in note and note.startswith("Resolution Note:") for note in notes)
    if count != 1:
        yield f"the resolution note stands {count} times on the incident"
