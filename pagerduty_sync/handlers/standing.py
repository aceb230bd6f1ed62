"""How a Case and its incident stand: each field, what waits for what and until when, and what would be done next."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from pagerduty_sync.domain.cases import Case
from pagerduty_sync.domain.connectors import Field, Integration, IntegrationStatus
from pagerduty_sync.domain.deliveries import Delivery, Reason
from pagerduty_sync.domain.evidence import differing
from pagerduty_sync.domain.links import LOOP, SYNCED_FIELDS, Link, LinkState
from pagerduty_sync.domain.merging import Moved, moved
from pagerduty_sync.domain.reasons import meaning_of
from pagerduty_sync.handlers.case_side import case_values
from pagerduty_sync.handlers.story import FieldNow, Wait, Webhook
from pagerduty_sync.handlers.visits import Visit
from pagerduty_sync.stores.overview import Schedule
from pagerduty_sync.stores.traces import CaseChange

CLASSES = ("an open, acknowledge or resolve", "a priority", "a note", "a read")
SETTLES = frozenset(
    {
        Reason.DIRECTION_OFF,
        Reason.UNMAPPED_PRIORITY,
        Reason.UNACKNOWLEDGE_OFF,
        Reason.CASE_CANNOT_REOPEN,
        Reason.CASE_CLOSED,
        Reason.CASE_NOT_OPEN,
        Reason.INCIDENT_NEVER_REOPENED,
        Reason.NO_EQUIVALENT,
        Reason.REFUSED,
        Reason.GAVE_UP,
    }
)
"""The reasons for which a difference stays and is not argued about again."""
VERDICTS = {Moved.CASE: "to_incident", Moved.INCIDENT: "to_case", Moved.BOTH: "both_changed"}


# ------------------------------------------------------------------ the fields


def fields_of(visit: Visit, attempts: Sequence[Delivery]) -> list[FieldNow]:
    """Every field that holds one value a side."""
    differ = differing(visit.case, visit.link, visit.policy)
    values = case_values(visit.case)
    found = []
    for name in SYNCED_FIELDS:
        seen, agreed = visit.link.seen(name), visit.link.agreed(name)
        incident = seen.value if seen else None
        which = moved(agreed, values[name], incident)
        if seen is None and name is not Field.RESOLUTION_NOTES:
            verdict, rule = "unknown", "The incident has not been seen yet."
        elif which is not Moved.NEITHER:
            verdict, rule = VERDICTS[which], "Changed since both sides last agreed."
        elif name in differ:
            verdict, rule = "settled", _what_settled(name, attempts)
        else:
            verdict, rule = "in_step", meaning_of(Reason.IN_STEP)
        found.append(FieldNow(name.value, values[name], incident, verdict, rule))
    return found


def _what_settled(name: Field, attempts: Sequence[Delivery]) -> str:
    for one in attempts:
        is_about_priority = "priority" in one.operation.lower()
        if one.reason in SETTLES and is_about_priority == (name is Field.PRIORITY):
            return meaning_of(str(one.reason))
    return "The two differ, and both know it: neither has changed since."


# ------------------------------------------------------------------ what waits


def waits_of(
    visit: Visit | None,
    schedule: Schedule | None,
    changes: Sequence[CaseChange],
    webhooks: Sequence[Webhook],
    account: Integration | None,
    give_up_after: timedelta,
) -> list[Wait]:
    """Everything that has still to happen, in the order in which it will."""
    waits = [_webhook(one) for one in webhooks if one.row.state in ("received", "waiting")]
    waits += [
        Wait(f"{one.kind} of the Case waits to be looked at", since=one.occurred_at)
        for one in changes
        if one.handled_at is None
    ]
    if schedule is not None and schedule.lease_until is not None:
        waits.append(Wait("a worker has the link", until=schedule.lease_until))
    if schedule is not None and schedule.dirty_at is not None:
        waits.append(Wait("the link waits to be looked at", since=schedule.dirty_at))
    if visit is None:
        return waits
    if schedule is not None and schedule.due_at is not None and schedule.due_class is not None:
        waits.append(_call(schedule.due_at, schedule.due_class, account))
    return waits + _of_link(visit, give_up_after)


def _webhook(webhook: Webhook) -> Wait:
    row = webhook.row
    says = webhook.event.event_type if webhook.event else "a webhook"
    return Wait(
        f"{says} waits {'to be verified' if row.state == 'received' else 'for its link'}", since=row.received_at
    )


def _call(due_at: datetime, due_class: int, account: Integration | None) -> Wait:
    what = f"{CLASSES[due_class]} is due"
    if account is not None and account.status is IntegrationStatus.DISCONNECTED:
        return Wait(f"{what}, and waits for the account to be connected again", since=due_at)
    return Wait(what, until=due_at)


def _of_link(visit: Visit, give_up_after: timedelta) -> list[Wait]:
    link, waits = visit.link, []
    if link.state is LinkState.ENDED:
        return []
    if link.failing_since is not None:
        until = link.failing_since + give_up_after
        waits.append(
            Wait(f"calls that failed in a row: {link.attempts}; given up then", until=until, since=link.failing_since)
        )
    if link.is_doubtful:
        waits.append(Wait("the incident is read before anything more is decided"))
    if link.wants_notes:
        waits.append(Wait("the incident's notes are to be read"))
    for entry in visit.ledger.waiting("outbound"):
        waits.append(Wait(f"a {entry.kind.replace('_', ' ')} of {entry.author.label} waits to stand on the incident"))
    for entry in visit.ledger.waiting("inbound"):
        waits.append(Wait(f"a {entry.kind.replace('_', ' ')} of {entry.author.label} waits to stand on the Case"))
    for key, parked in link.parked.items():
        what = "the whole link" if key == LOOP else key
        waits.append(Wait(f"{what} waits for an operator: {parked.detail}", since=parked.at))
    return waits


def late_since(
    schedule: Schedule | None,
    changes: Sequence[CaseChange],
    webhooks: Sequence[Webhook],
    account: Integration | None,
) -> datetime | None:
    """Since when something has waited that workers do within seconds; None when nothing does."""
    times = [one.row.received_at for one in webhooks if one.row.state in ("received", "waiting")]
    times += [one.occurred_at for one in changes if one.handled_at is None]
    if schedule is not None and schedule.lease_until is None:
        is_out = account is None or account.status in (IntegrationStatus.DISCONNECTED, IntegrationStatus.CONNECTING)
        times += [at for at in (schedule.dirty_at, None if is_out else schedule.due_at) if at is not None]
    return min(times, default=None)


# ------------------------------------------------------------------ the two sides


def case_facts(case: Case) -> dict[str, str | None]:
    return {
        "id": case.id,
        "name": case.name,
        "status": case.status.value,
        "priority": case.priority.value,
        "override": case.override_priority.value if case.override_priority else None,
        "resolution_note": case.resolution_reason,
    }


def incident_facts(link: Link, account: Integration | None) -> dict[str, str | None]:
    """The incident as it was last seen."""
    status, priority = link.seen(Field.STATUS), link.seen(Field.PRIORITY)
    names = {one.id: one.name for one in account.priorities} if account else {}
    return {
        "id": link.incident_id,
        "number": str(link.incident_number) if link.incident_number else None,
        "url": link.incident_url or None,
        "status": status.value if status else None,
        "priority": priority.value if priority else None,
        "priority_name": names.get(priority.value or "") if priority else None,
        "by": status.by.label if status and status.by else None,
        "seen_at": status.at.isoformat() if status else None,
    }


def link_facts(link: Link, connector: str) -> dict[str, str | None]:
    return {
        "state": link.state.value,
        "ended_reason": link.ended_reason or None,
        "connector": connector,
        "service_id": link.service_id,
    }
