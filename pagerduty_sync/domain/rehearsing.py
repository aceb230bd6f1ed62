"""What a plan would do, in words, without doing it. Pure: carries the plan out on copies until only calls are left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pagerduty_sync.domain.cases import Case, CaseStatus
from pagerduty_sync.domain.connectors import Field, Policy
from pagerduty_sync.domain.deliveries import Reason
from pagerduty_sync.domain.links import Ledger, LedgerEntry, Link
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.domain.plans import (
    CaseAction,
    ChangeCase,
    ChangeIncident,
    IncidentAction,
    OpenIncident,
    PlaceComment,
    Plan,
    PostNote,
    ReadIncident,
    ReadNotes,
)

ROUNDS = 20
SHOWN_CHARACTERS = 120


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would be written to the Case, which calls would follow, and the first telling reason of each field."""

    case_changes: tuple[str, ...] = ()
    calls: tuple[str, ...] = ()
    reasons: Mapping[Field, Reason] = field(default_factory=dict)

    @property
    def changes(self) -> tuple[str, ...]:
        return (*self.case_changes, *self.calls)


def rehearse(link: Link, ledger: Ledger, case: Case, policy: Policy) -> Rehearsal:
    """Carry out everything that needs no call, on copies."""
    done: list[str] = []
    reasons: dict[Field, Reason] = {}
    now = Plan()
    for number in range(ROUNDS):
        now = plan(link, ledger, case, policy)
        for name, reason in now.reasons.items():
            if reasons.get(name, Reason.IN_STEP) is Reason.IN_STEP:
                reasons[name] = reason
        if now.ends is not None or now.follows is not None:
            told = tuple(f"comment on the Case: {_short(tell.text)}" for tell in now.tells)
            return Rehearsal((*done, *told, _end_of(now)), (), reasons)
        for name, agreement in now.settled.items():
            link = link.agree(name, agreement.case, agreement.incident)
        for tell in now.tells:
            if ledger.by_source(tell.direction, tell.source_id) is None:
                entry_id = f"{number}-{tell.source_id}"
                ledger = ledger.put(
                    LedgerEntry(entry_id, tell.direction, tell.kind, tell.source_id, tell.author, tell.text)
                )
        for action in now.case_actions:
            done.append(described(action))
            if isinstance(action, ChangeCase):
                case = _changed(case, action)
                link = link.agree(action.field, action.agreed.case, action.agreed.incident)
            else:
                ledger = ledger.put(replace(action.entry, state="placed", remote_id=action.entry.id))
        if not (now.settled or now.tells or now.case_actions):
            break
    return Rehearsal(tuple(done), _calls(now, plan(link, ledger, case, policy, is_fresh=True), link), reasons)


def _end_of(now: Plan) -> str:
    if now.follows is not None:
        return f"let the link follow incident {now.follows}, or end when that one has a Case"
    return f"end the link ({now.ends})"


def _calls(now: Plan, fresh: Plan, link: Link) -> tuple[str, ...]:
    calls = [described(action) for action in now.incident_actions]
    if ReadIncident() in now.incident_actions and not link.is_doubtful:
        follow = [action for action in fresh.incident_actions if action not in now.incident_actions]
        calls += [f"{described(action)}, if the incident still is as it was seen" for action in follow]
    return tuple(calls)


def described(action: CaseAction | IncidentAction) -> str:
    """One action as a sentence's beginning."""
    match action:
        case ChangeCase():
            return _case_change(action)
        case PlaceComment(entry):
            return f"comment on the Case as {entry.author.label}: {_short(entry.text)}"
        case OpenIncident(looks_first=True):
            return "look whether an incident stands under the Case's key, else open one"
        case OpenIncident():
            return "open an incident"
        case ReadIncident():
            return "read the incident"
        case ReadNotes():
            return "read the incident's notes"
        case ChangeIncident(field=Field.PRIORITY, priority_id=None):
            return "clear the incident's priority"
        case ChangeIncident(field=Field.PRIORITY, priority_id=priority_id):
            return f"set the incident's priority to {priority_id}"
        case ChangeIncident(status=status):
            return f"set the incident to {status}"
        case PostNote(entry):
            return (
                f"write a note on the incident for {entry.author.label}: {_short(entry.text) or 'the Case was closed'}"
            )


def _case_change(action: ChangeCase) -> str:
    who = action.actor.label
    match action:
        case ChangeCase(field=Field.PRIORITY, priority=None):
            return f"take off the Case's priority override as {who}"
        case ChangeCase(field=Field.PRIORITY):
            return f"override the Case's priority with {action.priority} as {who}"
        case ChangeCase(field=Field.STATUS):
            return f"make the Case {action.status} as {who}"
        case _:
            return f"write the Case's resolution note as {who}: {_short(action.reason or '')}"


def _changed(case: Case, action: ChangeCase) -> Case:
    match action:
        case ChangeCase(field=Field.PRIORITY):
            return replace(case, override_priority=action.priority)
        case ChangeCase(field=Field.STATUS, status=CaseStatus.RESOLVED):
            return replace(case, status=CaseStatus.RESOLVED, resolution_reason=action.reason)
        case ChangeCase(field=Field.STATUS, status=status) if status is not None:
            return replace(case, status=status)
        case _:
            return replace(case, resolution_reason=action.reason)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
