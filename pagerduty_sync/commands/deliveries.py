"""`deliveries` and `link show`: what happened, why, and where a pair stands."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime

import click

from pagerduty_sync.commands.filters import with_filters
from pagerduty_sync.commands.shell import Commands, Failure, Shell, pass_shell, table
from pagerduty_sync.domain import mapping
from pagerduty_sync.domain.cases import Case
from pagerduty_sync.domain.connectors import Field
from pagerduty_sync.domain.deliveries import Delivery, Direction
from pagerduty_sync.domain.links import SYNCED_FIELDS, Link
from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.stores.deliveries import LARGEST_PAGE, DeliveryFilters
from pagerduty_sync.stores.overview import Overviews, Schedule

_CLASSES = ("open, acknowledge or resolve", "priority", "notes", "reads")


@click.command()
@with_filters
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="A JSON array, newest first.")
@pass_shell
def deliveries(shell: Shell, filters: DeliveryFilters, limit: int, as_json: bool) -> None:
    """Every attempt in either direction, and its reason.

    Newest first.
    """
    found = _found(shell, filters, limit)
    if as_json:
        click.echo(json.dumps([asdict(one) for one in found], default=_plain, indent=2, ensure_ascii=False))
        return
    columns = {
        "at": "TIME (UTC)",
        "direction": "DIRECTION",
        "operation": "OPERATION",
        "case": "CASE",
        "incident": "INCIDENT",
        "outcome": "OUTCOME",
        "reason": "REASON",
        "http": "HTTP",
        "took": "TOOK",
        "detail": "DETAIL",
    }
    table([_row(one) for one in found], columns, "There are no such deliveries.")


def _found(shell: Shell, filters: DeliveryFilters, limit: int) -> list[Delivery]:
    found: list[Delivery] = []
    token: str | None = None
    while len(found) < limit:
        page, token = shell.app.deliveries.find(filters, limit=min(limit - len(found), LARGEST_PAGE), page_token=token)
        found += page
        if token is None:
            break
    return found


def _row(one: Delivery) -> dict[str, object]:
    attempt = f" (attempt {one.attempt})" if one.attempt > 1 else ""
    return {
        "at": f"{one.at:%m-%d %H:%M:%S.%f}"[:-3] if one.at else "",
        "direction": "PD → Case" if one.direction is Direction.INBOUND else "Case → PD",
        "operation": one.operation,
        "case": one.case_name,
        "incident": one.incident_id,
        "outcome": one.outcome,
        "reason": f"{one.reason}{attempt}",
        "http": one.http_status,
        "took": f"{one.duration_ms} ms" if one.duration_ms is not None else "",
        "detail": one.detail,
    }


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@click.group(cls=Commands)
def link() -> None:
    """The pair of a Case and its incident."""


@link.command()
@click.argument("case")
@pass_shell
def show(shell: Shell, case: str) -> None:
    """Where CASE and its incident stand: what each shows, what both last agreed on, and what is still to be done."""
    found = shell.app.cases.get_case(case)
    link = shell.app.links.of_case(found.id)
    if link is None:
        latest, _ = shell.app.deliveries.find(DeliveryFilters(case=found.id), limit=1)
        why = f" The last thing said about it: {latest[0].reason} {latest[0].detail}".rstrip() + "." if latest else ""
        raise NotFoundError(f"{found.name} has no incident.{why}")
    ended = f" ({link.ended_reason})" if link.ended_reason else ""
    click.echo(f"{found.name} ↔ {_incident(link)}: {link.state}{ended}")
    click.echo()
    columns = {
        "field": "FIELD",
        "case": "CASE NOW",
        "agreed_case": "AGREED: CASE",
        "agreed_incident": "AGREED: INCIDENT",
        "incident": "INCIDENT AS SEEN",
        "at": "SEEN (UTC)",
    }
    table([_picture(name, found, link) for name in SYNCED_FIELDS], columns, "")
    click.echo()
    for line in _to_be_done(link, Overviews(shell.app.database).schedule(link.id)):
        click.echo(line)
    counts = Counter((entry.direction, entry.state) for entry in shell.app.ledger.of_link(link.id).entries)
    told = ", ".join(f"{count} {direction} {state}" for (direction, state), count in sorted(counts.items()))
    click.echo(f"Comments and notes: {told or 'none'}")
    for key, parked in link.parked.items():
        click.echo(f"Parked: {key} since {parked.at:%Y-%m-%d %H:%M:%S}: {parked.detail}")


def _incident(link: Link) -> str:
    if not link.incident_id:
        return "no incident yet"
    return f"#{link.incident_number or '?'} {link.incident_id} {link.incident_url}".rstrip()


def _picture(name: Field, case: Case, link: Link) -> Mapping[str, object]:
    agreed, seen = link.agreed(name), link.seen(name)
    now = {
        Field.STATUS: case.status.value,
        Field.PRIORITY: mapping.case_priority_value(case),
        Field.RESOLUTION_NOTES: case.resolution_reason,
    }
    return {
        "field": name.value,
        "case": _short(now[name]),
        "agreed_case": _short(agreed.case),
        "agreed_incident": _short(agreed.incident),
        "incident": _short(seen.value) if seen else "not yet",
        "at": f"{seen.at:%Y-%m-%d %H:%M:%S}" if seen else "",
    }


def _to_be_done(link: Link, schedule: Schedule | None) -> list[str]:
    lines = []
    if link.is_doubtful:
        lines.append("The incident is read before anything more is decided.")
    if link.wants_notes:
        lines.append("The incident's notes are to be read.")
    if link.attempts:
        since = f" since {link.failing_since:%Y-%m-%d %H:%M:%S}" if link.failing_since else ""
        lines.append(f"Failed calls in a row: {link.attempts}{since}")
    if schedule is None:
        raise Failure("The link has just gone.")
    if schedule.dirty_at:
        lines.append(f"Wants a look since {schedule.dirty_at:%Y-%m-%d %H:%M:%S}")
    if schedule.due_at and schedule.due_class is not None:
        lines.append(f"Next call due {schedule.due_at:%Y-%m-%d %H:%M:%S} ({_CLASSES[schedule.due_class]})")
    if schedule.lease_until:
        lines.append(f"A worker holds it until {schedule.lease_until:%Y-%m-%d %H:%M:%S}")
    return lines or ["Nothing is left to do."]


def _short(text: str | None, longest: int = 40) -> str:
    text = " ".join((text or "–").split())
    return text if len(text) <= longest else text[: longest - 1] + "…"
