"""Do both sides agree, is nothing lost, is nothing doubled? Looked up from outside: API, simulator, database."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from tests.e2e.breakable import Breakable, Json, NotSoError, until
from tests.e2e.lives import Life

SHOWN = 25
Kind = Literal["differs", "missing or doubled", "opened twice", "re-opened", "unfinished"]


@dataclass(frozen=True)
class Disagreement:
    """One thing that is not as it should be, and in whose life, if it is in one."""

    kind: Kind
    what: str
    life: Life | None = None

    def __str__(self) -> str:
        return f"{self.life.kind}, {self.life.name}: {self.what}" if self.life else self.what


class DisagreementError(AssertionError):
    """What does not agree after all the time it had."""

    def __init__(self, found: Sequence[Disagreement], trouble: NotSoError) -> None:
        shown = "\n  ".join(map(str, found[:SHOWN])) or "nothing was found; it could not be looked at"
        super().__init__(f"{trouble}\n{len(found)} things disagree:\n  {shown}")
        self.found = found


ENDS = {
    "led_by_pagerduty": ("CLOSED", "resolved"),
    "led_by_the_case": ("RESOLVED", "resolved"),
    "closed_early": ("CLOSED", "resolved"),
    "both_at_once": ("RESOLVED", "resolved"),
    "spoken_and_acknowledged": ("ACKNOWLEDGED", "acknowledged"),
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
    """Wait until nothing is left to do and both sides of all these lives agree; raises DisagreementError."""
    found: list[Disagreement] = []

    def agrees() -> bool:
        found[:] = _unfinished(breakable)
        # While work is left the sides may differ: what they hold is only worth a look afterwards.
        found[:] = found or disagreements(breakable, lives)
        return not found

    try:
        until(agrees, "both sides agree", seconds)
    except NotSoError as exc:
        raise DisagreementError([*found], exc) from None


def _unfinished(breakable: Breakable) -> Iterator[Disagreement]:
    """Work that is left, anywhere in the installation."""
    if pending := breakable.webhooks_pending():
        yield Disagreement("unfinished", f"{pending} webhooks are on their way")
    for what, query in UNFINISHED.items():
        for row in breakable.rows(query):
            yield Disagreement("unfinished", f"{what}: {row['what']}")
    yield from _not_taken_in(breakable)


def _not_taken_in(breakable: Breakable) -> Iterator[Disagreement]:
    """Webhooks PagerDuty got a 2xx for, and that we know nothing of."""
    known = {row["webhook_id"] for row in breakable.rows("SELECT webhook_id FROM inbox")}
    for attempt in breakable.attempts(outcome="delivered"):
        if attempt["webhook_id"] not in known:
            what = f"accepted and lost: {attempt['event_type']} of {attempt['incident_id']}"
            yield Disagreement("missing or doubled", what)


def disagreements(breakable: Breakable, lives: Sequence[Life]) -> Iterator[Disagreement]:
    """What is not as it should be, of what is to be seen on the two sides."""
    incidents = breakable.simulator("GET", "/_sim/state")["incidents"]
    links = {str(row["case_id"]): row for row in breakable.rows("SELECT * FROM links")}
    by_id = {incident["id"]: incident for incident in incidents}
    for key, count in Counter(incident["incident_key"] for incident in incidents).items():
        if count > 1:
            yield Disagreement("opened twice", f"{count} incidents under the key {key}")
    # Nobody in these lives opens an incident again, so it would have been us.
    reopened = {attempt["incident_id"] for attempt in breakable.attempts(event_type="incident.reopened")}
    for life in lives:
        link = links.get(life.case_id)
        if link is None or link["incident_id"] not in by_id:
            yield Disagreement("differs", "it has no incident", life)
            continue
        case, incident = life.case(), by_id[link["incident_id"]]
        comments, notes = life.comments_shown(), [note["content"] for note in incident["notes"]]
        for what in chain(_pair(life, case, link, incident), _resolution(life, case, comments)):
            yield Disagreement("differs", what, life)
        if incident["id"] in reopened:
            yield Disagreement("re-opened", "its incident was opened again", life)
        for what in _texts(life, comments, notes):
            yield Disagreement("missing or doubled", what, life)


def _pair(life: Life, case: Json, link: Json, incident: Json) -> Iterator[str]:
    if link["state"] != "linked":
        yield f"its link is {link['state']} ({link['ended_reason']})"
    if incident["incident_key"] != link["incident_key"]:
        yield f"its incident stands under another key ({incident['incident_key']})"
    status = case["status"], incident["status"]
    if status != ENDS.get(life.kind, ("ACTIVE", "triggered")):
        yield f"the Case is {status[0]}, the incident {status[1]}"
    priority = (incident["priority"] or {}).get("summary")
    if life.is_priority_settled and priority != case["priority"]:
        yield f"the Case is {case['priority']}, the incident {priority}"


def _resolution(life: Life, case: Json, comments: list[str]) -> Iterator[str]:
    if life.resolution is None:
        return
    told = sum(life.resolution in text for text in comments)
    # A Case that was closed before the note arrived cannot take it any more, but for its timeline.
    stands = (life.resolution, 0), *([(None, 1)] if case["status"] == "CLOSED" else [])
    if (case["resolution_reason"], told) not in stands:
        yield f"the Case's resolution reason is {case['resolution_reason']}, and it stands in {told} comments"


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
    if life.resolution is not None:
        count = sum(life.resolution in note and note.startswith("Resolution Note:") for note in notes)
        if count != 1:
            yield f"the resolution note stands {count} times on the incident"
