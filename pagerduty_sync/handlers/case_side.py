"""Carrying out a plan as far as the Case: settle, tell, write, plan again, until only calls to PagerDuty are left."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from pagerduty_sync.domain.cases import Case, CaseStatus, CaseSystem
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason
from pagerduty_sync.domain.links import LedgerEntry, Parked, Picture
from pagerduty_sync.domain.mapping import case_priority_value
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.domain.plans import CaseAction, ChangeCase, PlaceComment, Plan, Tell
from pagerduty_sync.errors import InvalidRequestError, TransitionError
from pagerduty_sync.handlers.visits import Visit, Visits
from pagerduty_sync.stores.links import Links

MAX_ROUNDS = 20
"""A plan that is not empty after so many rounds is a defect; stopping keeps it from becoming a loop."""


@dataclass(slots=True)
class Settled:
    """What came of it: the plan that is left, the first telling reason a field had, and which fields wrote the Case."""

    plan: Plan
    reasons: dict[Field, Reason] = field(default_factory=dict)
    wrote: dict[Field, str] = field(default_factory=dict)


class CaseSide:
    def __init__(self, cases: CaseSystem, links: Links, visits: Visits) -> None:
        self._cases = cases
        self._links = links
        self._visits = visits

    def settle(self, visit: Visit, *, is_complete: bool = True) -> Settled:
        """Do everything that needs no call to PagerDuty. Changes `visit`; the caller records it."""
        settled = Settled(Plan())
        for _ in range(MAX_ROUNDS):
            now = plan(
                visit.link,
                visit.ledger,
                visit.case,
                visit.policy,
                is_fresh=visit.is_fresh,
                is_complete=is_complete,
            )
            settled.plan = now
            for name, reason in now.reasons.items():
                if settled.reasons.get(name, Reason.IN_STEP) is Reason.IN_STEP:
                    settled.reasons[name] = reason
            if not self._carry_out(visit, now, settled):
                return settled
        raise RuntimeError(f"the plan of {visit.link.case_name} does not come to rest: {settled.plan}")

    def _carry_out(self, visit: Visit, now: Plan, settled: Settled) -> bool:
        """One round; False when there was nothing to do on this side."""
        for name, agreement in now.settled.items():
            visit.link = visit.link.agree(name, agreement.case, agreement.incident)
        for tell in now.tells:
            self._tell(visit, tell)
        if now.ends is not None:
            visit.end(now.ends)
        elif now.follows is not None:
            self._follow(visit, now.follows)
        for action in now.case_actions:
            self._act(visit, action, settled)
        return bool(now.settled or now.tells or now.ends or now.follows or now.case_actions)

    def _tell(self, visit: Visit, tell: Tell) -> None:
        if visit.ledger.by_source(tell.direction, tell.source_id) is None:
            entry = LedgerEntry(
                self._visits.new_id(), tell.direction, tell.kind, tell.source_id, tell.author, tell.text
            )
            visit.put(entry)

    def _follow(self, visit: Visit, target: str) -> None:
        """The link goes on with the incident this one was merged into, unless that one has a Case of its own."""
        other = self._links.of_incident(visit.link.integration_id, target, None)
        if other is not None and other.id != visit.link.id:
            visit.end(Reason.MERGED)
            return
        pictures = {name: Picture(picture.agreed) for name, picture in visit.link.pictures.items()}
        visit.link = replace(
            visit.link,
            incident_id=target,
            incident_number=None,
            incident_url="",
            merged_into=None,
            is_doubtful=True,
            # Nobody has said whether a merge moves notes: what may stand is looked for there too, before it is sent.
            wants_notes=bool(visit.ledger.waiting("outbound")),
            pictures=pictures,
        )

    def _act(self, visit: Visit, action: CaseAction, settled: Settled) -> None:
        name = action.field if isinstance(action, ChangeCase) else Field.COMMENTS
        visit.writes += 1
        try:
            if isinstance(action, PlaceComment):
                self._place(visit, action.entry)
                settled.wrote[name] = "place_comment"
            else:
                visit.case = self._change(visit.case, action)
                visit.link = visit.link.agree(name, action.agreed.case, action.agreed.incident)
                settled.wrote[name] = operation_of(action)
        except (TransitionError, InvalidRequestError) as exc:
            self._refused(visit, action, settled, str(exc))

    def _place(self, visit: Visit, entry: LedgerEntry) -> None:
        # The reference is made of the entry's source, so that placing it again after a crash finds the first.
        reference = f"{visit.link.incident_id}:{entry.source_id}"
        event_id = self._cases.place_comment(visit.link.case_id, entry.author, entry.text, reference)
        visit.put(replace(entry, state="placed", remote_id=event_id))

    def _change(self, case: Case, action: ChangeCase) -> Case:
        match action:
            case ChangeCase(field=Field.PRIORITY):
                return self._cases.override_priority(case.id, action.actor, action.priority)
            case ChangeCase(status=CaseStatus.ACKNOWLEDGED):
                return self._cases.acknowledge(case.id, action.actor)
            case ChangeCase(status=CaseStatus.ACTIVE):
                return self._cases.unacknowledge(case.id, action.actor)
            case ChangeCase(status=CaseStatus.RESOLVED):
                return self._cases.resolve(case.id, action.actor, action.reason)
            case _:
                assert action.reason is not None
                return self._cases.set_resolution_reason(case.id, action.actor, action.reason)

    def _refused(self, visit: Visit, action: CaseAction, settled: Settled, words: str) -> None:
        """The Case said no. If it has changed meanwhile the next round decides anew, else the refusal is parked."""
        before = visit.case
        visit.case = self._cases.get_case(visit.case.id)
        if isinstance(action, PlaceComment):
            visit.put(replace(action.entry, state="dropped", reason=Reason.REFUSED))
        elif visit.case != before:
            return
        else:
            seen = visit.link.seen(action.field)
            parked = Parked(words, self._visits.now(), visit.link.agreed(action.field))
            visit.link = visit.link.park(f"case:{action.field.value}", parked)
            case_value = case_values(visit.case)[action.field]
            visit.link = visit.link.agree(action.field, case_value, seen.value if seen else None)
        name = action.field if isinstance(action, ChangeCase) else Field.COMMENTS
        settled.reasons[name] = Reason.REFUSED
        visit.log(Direction.INBOUND, operation_of(action), Reason.REFUSED, outcome=Outcome.FAILED, detail=words)


def case_values(case: Case) -> Mapping[Field, str | None]:
    """The raw values of a Case that agreements are made of."""
    return {
        Field.STATUS: case.status.value,
        Field.PRIORITY: case_priority_value(case),
        Field.RESOLUTION_NOTES: case.resolution_reason,
    }


def operation_of(action: CaseAction) -> str:
    """The name of a write on a Case in the delivery log."""
    match action:
        case PlaceComment():
            return "place_comment"
        case ChangeCase(field=Field.PRIORITY, priority=None):
            return "clear_priority_override"
        case ChangeCase(field=Field.PRIORITY):
            return "set_priority_override"
        case ChangeCase(status=CaseStatus.ACKNOWLEDGED):
            return "acknowledge_case"
        case ChangeCase(status=CaseStatus.ACTIVE):
            return "unacknowledge_case"
        case ChangeCase(status=CaseStatus.RESOLVED):
            return "resolve_case"
        case _:
            return "set_resolution_reason"
