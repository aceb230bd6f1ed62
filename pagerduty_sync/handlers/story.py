"""The lines of a story: from rows on record to what happened, in words, in the order of time. Decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.domain.evidence import Diagnosis
from pagerduty_sync.domain.incidents import IncidentEvent
from pagerduty_sync.domain.reasons import meaning_of
from pagerduty_sync.errors import PayloadError
from pagerduty_sync.pagerduty.schemas import parse_event
from pagerduty_sync.stores.inbox import InboxRow
from pagerduty_sync.stores.traces import CaseChange

SHOWN_CHARACTERS = 160


class Stage(StrEnum):
    """How far a thing had come when the line was written."""

    CHANGED = "changed"  # a person, or the sync, changed the Case
    RECEIVED = "received"  # a webhook was stored
    VERIFIED = "verified"  # its signature was judged
    MATCHED = "matched"  # its link was looked for
    DECIDED = "decided"  # a rule said what comes of it
    DELIVERED = "delivered"  # the other side took it
    WAITING = "waiting"  # it will be tried again
    FAILED = "failed"  # it will not


@dataclass(frozen=True, slots=True)
class Step:
    """One line. `rule` is the sentence of the reason that decided; `about` names the row it was read from."""

    at: datetime
    stage: Stage
    text: str
    values: Mapping[str, str] = field(default_factory=dict)
    reason: str = ""
    rule: str = ""
    about: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """What has still to happen, and until when it waits, where that is known."""

    what: str
    until: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class FieldNow:
    """One field of both sides. `verdict` is in_step, to_case, to_incident or settled; `rule` says why."""

    name: str
    case: str | None
    incident: str | None
    verdict: str
    rule: str


@dataclass(frozen=True, slots=True)
class Now:
    """How it stands. `is_in_step` is None where there is nothing to compare; the first cause is the most probable."""

    case: Mapping[str, str | None] = field(default_factory=dict)
    incident: Mapping[str, str | None] = field(default_factory=dict)
    link: Mapping[str, str | None] = field(default_factory=dict)
    is_in_step: bool | None = None
    compared: Sequence[FieldNow] = ()
    waits: Sequence[Wait] = ()
    would_do: Sequence[str] = ()
    rules: Sequence[str] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    causes: Sequence[Diagnosis] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """Everything on record about one Case or one incident; `is_cut` says that older lines were left out."""

    subject: str
    steps: Sequence[Step]
    now: Now
    is_cut: bool = False


@dataclass(frozen=True, slots=True)
class Webhook:
    """A stored webhook and what it says; None for one that nobody can read."""

    row: InboxRow
    event: IncidentEvent | None


def steps_of(
    changes: Sequence[CaseChange], webhooks: Sequence[Webhook], attempts: Sequence[Delivery], links: Mapping[str, str]
) -> list[Step]:
    """All lines in the order of time; of lines of one moment, in the order of the stages. `links` are Cases by link."""
    lines = [*(_change(one) for one in changes), *(step for one in webhooks for step in _webhook(one, links))]
    values = {step.about: _telling(step.values) for step in lines if step.stage in (Stage.CHANGED, Stage.RECEIVED)}
    lines += [_attempt(one, values.get(one.cause, {})) for one in attempts]
    order = list(Stage)
    return sorted(lines, key=lambda step: (step.at, order.index(step.stage)))


def _telling(values: Mapping[str, str]) -> dict[str, str]:
    """Of a change's values those that a decision about it rests on."""
    return {name: value for name, value in values.items() if name not in ("event", "incident", "came_after_seconds")}


def read(row: InboxRow) -> Webhook:
    """A stored webhook, read once for everything that is told of it."""
    try:
        return Webhook(row, parse_event(row.body))
    except PayloadError:
        return Webhook(row, None)


def _change(change: CaseChange) -> Step:
    values = {key: short(str(value)) for key, value in change.content.items() if value not in (None, "", {}, [])}
    about = f"case_event:{change.id}"
    return Step(change.occurred_at, Stage.CHANGED, f"{change.actor.label}: {change.kind}", values, about=about)


def _webhook(webhook: Webhook, links: Mapping[str, str]) -> Iterator[Step]:
    row, event = webhook.row, webhook.event
    about = f"inbox:{row.id}"
    unread = f"what it said was moved to {row.archive}" if row.archive else "something that cannot be read"
    says = event.event_type if event else unread
    who = event.agent.label if event and event.agent else "PagerDuty"
    at = row.received_at
    yield Step(at, Stage.RECEIVED, f"webhook: {says} by {who}", _values(event, at), about=about)
    if row.state == "received":
        yield Step(at, Stage.WAITING, "waits to be verified", about=about)
        return
    if row.reason == Reason.REJECTED_SIGNATURE.value:
        yield Step(at, Stage.VERIFIED, "no secret of ours has signed it", reason=row.reason, about=about)
        return
    yield Step(at, Stage.VERIFIED, f"its signature is good (subscription {row.subscription_id})", about=about)
    case = links.get(row.link_id or "")
    if case is not None:
        yield Step(at, Stage.MATCHED, f"the incident is linked with {case}", about=about)
    elif row.reason == Reason.NO_LINK.value:
        yield Step(at, Stage.MATCHED, "the incident is linked with no Case", reason=row.reason, about=about)
    if row.state == "waiting":
        yield Step(at, Stage.WAITING, "waits for its link to be looked at", about=about)


def _values(event: IncidentEvent | None, received_at: datetime) -> dict[str, str]:
    if event is None:
        return {}
    values = {"event": event.id, "incident": event.incident_id or "", "occurred_at": event.occurred_at.isoformat()}
    values["came_after_seconds"] = f"{(received_at - event.occurred_at).total_seconds():.1f}"
    if event.incident is not None:
        values |= {"status": event.incident.status.value, "priority": event.incident.priority_id or "none"}
        if event.incident.merged_into:
            values["merged_into"] = event.incident.merged_into
    if event.note is not None:
        values["note"] = short(event.note.text)
    return values


_CALLS = {Outcome.DELIVERED: Stage.DELIVERED, Outcome.DEFERRED: Stage.WAITING, Outcome.FAILED: Stage.FAILED}


def _attempt(one: Delivery, decided_on: Mapping[str, str]) -> Step:
    is_call = one.direction is Direction.OUTBOUND and one.http_status is not None
    writes = is_call or one.outcome is not Outcome.IGNORED
    stage = _CALLS.get(one.outcome, Stage.DECIDED) if writes else Stage.DECIDED
    where = "PagerDuty → Case" if one.direction is Direction.INBOUND else "Case → PagerDuty"
    times = f", attempt {one.attempt}" if one.attempt > 1 else ""
    detail = f": {one.detail}" if one.detail else ""
    values = {
        **decided_on,
        "by": one.actor,
        "outcome": str(one.outcome),
        "http": str(one.http_status or ""),
        "took": f"{one.duration_ms} ms" if one.duration_ms is not None else "",
        "request": one.request_id,
        "event": one.event_id,
        "cause": one.cause,
    }
    return Step(
        one.at or datetime.now(UTC),
        stage,
        f"{where}, {one.operation}: {one.reason}{detail}{times}",
        {name: value for name, value in values.items() if value},
        str(one.reason),
        meaning_of(str(one.reason)),
        f"delivery:{one.id}",
    )


def short(text: str) -> str:
    """One line of a text, not too long to be read."""
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
