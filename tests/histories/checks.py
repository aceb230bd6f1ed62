"""What must be true at the end of a history, seen from outside: the two sides and the journal, not the sync's rows.

Differences that have a rule are no problem: a closed Case, a resolved Case whose incident was re-opened, a Case that
was un-acknowledged by hand, a priority changed after the end, and what an incident already was when a merge led to it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pagerduty_sync.domain.cases import Case, CaseStatus, TimelineEvent
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.model import Incident
from tests.histories.journal import Pair
from tests.histories.world import World

KINDS = (
    "divergent pair",
    "echo write",
    "comment missing",
    "comment doubled",
    "re-opened by us",
    "resolved by a merge",
    "opened twice",
    "write to an unlinked incident",
    "changed because closed",
    "work left over",
    "crash of the sync",
)
MEANS = {CaseStatus.ACTIVE: "triggered", CaseStatus.ACKNOWLEDGED: "acknowledged", CaseStatus.RESOLVED: "resolved"}
PRIORITY_OF = {id_: name for name, id_ in seeds.PRIORITY_IDS.items()}


@dataclass(frozen=True, slots=True)
class Problem:
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class _Side:
    """Everything about one Case at the end."""

    case: Case
    timeline: Sequence[TimelineEvent]
    pair: Pair | None
    incident: Incident | None
    chain: frozenset[str]

    @property
    def has_followed(self) -> bool:
        return len(self.chain) > 1

    @property
    def is_linked(self) -> bool:
        return self.pair is not None and self.pair.state == "linked"


def problems_of(world: World) -> list[Problem]:
    """Every promise that was not kept."""
    sides = [_side(world, case_id, pair) for case_id, pair in _pairs(world).items()]
    found: list[Problem] = []
    for side in sides:
        found += _divergence(world, side)
        found += _comments(world, side)
    found += forbidden(world)
    found += _left_over(world)
    found += [Problem("crash of the sync", failure) for failure in world.journal.failures]
    return found


def forbidden(world: World) -> list[Problem]:
    """What must not have happened, at whatever moment one looks."""
    found: list[Problem] = []
    for case_id, pair in _pairs(world).items():
        side = _side(world, case_id, pair)
        found += _echoes(world, side)
        found += _merges(world, side)
        found += _openings(world, side)
    return [*found, *_writes(world)]


def is_in_step(world: World) -> bool:
    """Whether all pairs agree and every text stands where it should."""
    for case_id, pair in _pairs(world).items():
        side = _side(world, case_id, pair)
        if any(True for _ in _divergence(world, side)) or any(
            problem.kind == "comment missing" for problem in _comments(world, side)
        ):
            return False
    return True


def _pairs(world: World) -> Mapping[str, Pair | None]:
    pairs: Mapping[str, Pair] = world.quietly(world.workers.pairs)
    return {case_id: pairs.get(case_id) for case_id in world.case_ids}


def _side(world: World, case_id: str, pair: Pair | None) -> _Side:
    cases = world.application.cases
    case, timeline = world.quietly(lambda: (cases.get_case(case_id), cases.list_events(case_id)))
    account = world.simulator.account
    incident = account.incident(pair.incident_id) if pair and pair.incident_id else None
    chain = []
    one: Incident | None = next(iter(account.with_key(f"case-{case_id}")), None)
    while one is not None and one.id not in chain:
        chain.append(one.id)
        one = account.incident(one.merged_into) if one.merged_into else None
    if incident is not None and incident.id not in chain:
        chain.append(incident.id)
    return _Side(case, timeline, pair, incident, frozenset(chain))


# ------------------------------------------------------------------ in step


def _divergence(world: World, side: _Side) -> Iterator[Problem]:
    case, incident = side.case, side.incident
    if side.pair is None or side.pair.state == "opening":
        if case.status.is_open:
            yield Problem("divergent pair", f"{case.name} is {case.status} and no incident was opened")
        return
    if not side.is_linked or incident is None:
        return
    if not _status_agrees(world, side, incident):
        yield Problem("divergent pair", f"{case.name} is {case.status}, its incident {incident.status}")
    if not _priority_agrees(side, incident):
        shown = PRIORITY_OF.get(incident.priority_id or "", "none")
        override = " by hand" if case.override_priority else ""
        yield Problem("divergent pair", f"{case.name} is {case.priority}{override}, its incident {shown}")


def _status_agrees(world: World, side: _Side, incident: Incident) -> bool:
    case = side.case
    if case.status is CaseStatus.CLOSED or MEANS.get(case.status) == incident.status:
        return True
    if case.status is CaseStatus.RESOLVED:
        return side.has_followed or any(
            event.event_type == "incident.reopened" and event.incident_id == incident.id
            for event in world.journal.events
        )
    if case.status is CaseStatus.ACTIVE and incident.status == "acknowledged":
        return side.has_followed or ("ACKNOWLEDGED", "ACTIVE") in list(_moves(side, by_us=False))
    return case.status is CaseStatus.ACKNOWLEDGED and incident.status == "triggered" and side.has_followed


def _priority_agrees(side: _Side, incident: Incident) -> bool:
    case = side.case
    if not case.status.is_open or side.has_followed:
        return True
    if incident.priority_id is None:
        return case.override_priority is None
    return seeds.PRIORITY_IDS[case.priority] == incident.priority_id


def _moves(side: _Side, *, by_us: bool) -> Iterator[tuple[str, str]]:
    for event in side.timeline:
        if event.kind == "statusChanged" and (event.actor.kind == "pagerDuty") is by_us:
            yield event.content["oldStatus"], event.content["newStatus"]


# ------------------------------------------------------------------ comments and notes


def _comments(world: World, side: _Side) -> Iterator[Problem]:
    if side.pair is None:
        return
    notes = [note for incident in world.simulator.account.incidents.values() for note in incident.notes]
    ours = [note.content for note in notes if note.user_id == seeds.BOT_ID]
    comments = [event for event in side.timeline if event.kind == "comment"]
    placed = [str(event.content["unsafeText"]) for event in comments if event.actor.kind == "pagerDuty"]
    for event in comments:
        if event.actor.kind != "user":
            continue
        text = str(event.content["unsafeText"])
        yield from _once(f"comment {text!r} of {side.case.name}", text, ours, must=side.is_linked)
        if any(text in other for other in placed):
            yield Problem("echo write", f"comment {text!r} of {side.case.name} came back as a comment")
    for written in world.journal.notes:
        if written.is_resolution:
            text = written.text.removeprefix("Resolution Note:").strip()
            yield from _once(f"resolution note {text!r} on {side.case.name}", text, placed, must=False)
            continue
        if written.case_id == side.case.id:
            must = side.is_linked and side.pair.incident_id == written.incident_id
            label = written.text[:30]
            text = written.text[:9_000]
            yield from _once(f"note {label!r} for {side.case.name}", text, placed, must=must)
    yield from _resolution(world, side, ours, placed)
    for mark in ("was opened for this Case", "PagerDuty merged"):
        told = Counter(text for text in placed if mark in text)
        for text, count in told.items():
            if count > 1:
                yield Problem("comment doubled", f"told {count} times on {side.case.name}: {text}")
    finals = [text for text in ours if f"{side.case.name} was closed by" in text]
    if len(finals) > 1:
        yield Problem("comment doubled", f"{len(finals)} final notes of {side.case.name}")


def _once(label: str, text: str, where: Sequence[str], *, must: bool) -> Iterator[Problem]:
    count = sum(text in other for other in where)
    if count > 1:
        yield Problem("comment doubled", f"{label} stands {count} times")
    elif must and not count:
        yield Problem("comment missing", f"{label} stands nowhere")


def _resolution(world: World, side: _Side, ours: Sequence[str], placed: Sequence[str]) -> Iterator[Problem]:
    """The last word on the resolution stands on both sides, and none stands twice."""
    reasons = [event for event in side.timeline if event.kind == "resolutionReasonChangedEvent"]
    by_people = [str(event.content["to"]) for event in reasons if event.actor.kind == "user"]
    for text in by_people:
        must = side.is_linked and text == side.case.resolution_reason
        yield from _once(f"resolution reason {text!r} of {side.case.name}", text, ours, must=must)
    incident = side.incident
    if incident is None or not side.is_linked or side.case.status is not CaseStatus.RESOLVED:
        return
    known = {written.text for written in world.journal.notes if written.case_id == side.case.id}
    notes = [n for n in incident.notes if n.content.startswith("Resolution Note:") and n.user_id != seeds.BOT_ID]
    # A list of notes tells whole seconds, so that of two within one second either may count as the last.
    last = [n.content for n in notes if int(n.created_at) == int(notes[-1].created_at)]
    texts = [content.removeprefix("Resolution Note:").strip() for content in last if content in known]
    stood = {str(event.content["to"]) for event in reasons} | {str(side.case.resolution_reason)}
    if texts and not any(text in stood or any(text in other for other in placed) for text in texts):
        yield Problem("comment missing", f"resolution note {texts[-1]!r} is not on {side.case.name}")


# ------------------------------------------------------------------ never


def _echoes(world: World, side: _Side) -> Iterator[Problem]:
    """Our writes beyond what people's changes on the other side can account for."""
    people = [e for e in world.journal.events if e.incident_id in side.chain and e.agent_id != seeds.BOT_ID]
    merges = sum(event.is_merge for event in people) + max(0, len(side.chain) - 1)
    ours = list(_moves(side, by_us=True))
    theirs = [e for e in people if e.event_type.partition(".")[2] in _STATUS_EVENTS and not e.is_merge]
    if len(ours) > len(theirs) + merges:
        yield Problem("echo write", f"{side.case.name} was moved {len(ours)} times for {len(theirs)} changes")
    if len(_pairs(world)) == 1:
        yield from _beyond_cause(world, side)
    told = [n.text.split("words-")[-1].split(".")[0] for n in world.journal.notes]
    for write in world.journal.writes:
        if write.operation == "POST note" and any(f"words-{token}." in write.text for token in told):
            yield Problem("echo write", f"a note was sent back as a note: {write.text[:80]}")


def _beyond_cause(world: World, side: _Side) -> Iterator[Problem]:
    """Writes on the incident that no change of the Case asked for; one without an effect counts as well."""
    writes = [
        write
        for write in world.journal.writes
        if write.incident_id in side.chain and write.operation == "PUT incident" and not write.is_repeat
    ]
    for name, kind in (("status", "statusChanged"), ("priority", "priorityDetailsChanged")):
        ours = [write for write in writes if f'"{name}"' in write.text]
        asked = [event for event in side.timeline if event.kind == kind and event.actor.kind == "user"]
        if len(ours) > len(asked):
            yield Problem("echo write", f"its {name} was written {len(ours)} times for {len(asked)} changes")


_STATUS_EVENTS = ("acknowledged", "unacknowledged", "resolved", "reopened", "triggered")


def _merges(world: World, side: _Side) -> Iterator[Problem]:
    resolved_by_us = any(new == "RESOLVED" for _, new in _moves(side, by_us=True))
    really = any(
        event.event_type == "incident.resolved" and not event.is_merge and event.incident_id in side.chain
        for event in world.journal.events
    )
    if resolved_by_us and not really:
        yield Problem("resolved by a merge", f"{side.case.name} was resolved though nobody resolved its incident")


def _openings(world: World, side: _Side) -> Iterator[Problem]:
    opened = list(world.simulator.account.with_key(f"case-{side.case.id}"))
    if len(opened) > 1:
        yield Problem("opened twice", f"{side.case.name} has {len(opened)} incidents")


def _writes(world: World) -> Iterator[Problem]:
    for write in world.journal.writes:
        if not write.before or not write.after:
            continue
        if write.before[0] == "resolved" and write.after[0] != "resolved":
            yield Problem("re-opened by us", f"{write.incident_id}: {write.before[0]} → {write.after[0]}")
        if write.is_case_over and write.operation == "PUT incident":
            yield Problem("changed because closed", f"{write.text} after the Case was closed")
        if not write.is_linked:
            yield Problem("write to an unlinked incident", f"{write.operation} {write.text[:80]}")


def _left_over(world: World) -> Iterator[Problem]:
    if world.workers.name != "sync":
        return
    counts: Any = world.quietly(lambda: _waiting(world))
    for name, count in counts.items():
        if count:
            yield Problem("work left over", f"{count} {name}")


def _waiting(world: World) -> Mapping[str, int]:
    with world.application.database.transaction() as connection:
        row = connection.execute(
            """
            SELECT (SELECT count(*) FROM inbox WHERE state IN ('received', 'waiting')) AS webhooks,
                   (SELECT count(*) FROM case_events WHERE handled_at IS NULL) AS case_changes,
                   (SELECT count(*) FROM links WHERE due_at IS NOT NULL) AS due_calls,
                   (SELECT count(*) FROM links WHERE dirty_at IS NOT NULL) AS dirty_links,
                   (SELECT count(*) FROM links WHERE lease_token IS NOT NULL) AS leases,
                   (SELECT count(*) FROM comment_ledger l JOIN links ON links.id = l.link_id
                    WHERE l.state IN ('intended', 'sending') AND links.state = 'linked') AS unwritten_texts
            """
        ).fetchone()
    assert row is not None
    return {name: int(count) for name, count in row.items()}


def rows_of(world: World) -> str:
    """What the sync knows at the end, for whoever reads a failing story."""
    lines = []
    with world.application.database.transaction() as connection:
        for row in connection.execute("SELECT * FROM links ORDER BY case_name"):
            lines.append(f"link {row['case_name']}: " + ", ".join(f"{k}={v}" for k, v in row.items() if v is not None))
        for row in connection.execute("SELECT * FROM comment_ledger ORDER BY sequence"):
            lines.append(
                f"ledger {row['direction']} {row['kind']} {row['state']} {row['source_id']}: {row['text'][:60]}"
            )
        for row in connection.execute("SELECT * FROM inbox WHERE state <> 'done' ORDER BY id"):
            lines.append(f"inbox {row['id']} {row['state']} link={row['link_id']} {row['body'][:160]!r}")
    return "\n".join(lines)
