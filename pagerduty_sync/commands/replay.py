"""`replay`: try again what was attempted, in or out; the sync answers as it would today."""

from __future__ import annotations

import sys

import click

from pagerduty_sync.commands.filters import with_filters
from pagerduty_sync.commands.shell import Misuse, Shell, confirm, pass_shell, table
from pagerduty_sync.domain.deliveries import Direction
from pagerduty_sync.handlers.replay_report import Report
from pagerduty_sync.handlers.second_looks import Chosen
from pagerduty_sync.stores.deliveries import DeliveryFilters

AT_ONCE = 50
ASKS_FROM = 20
"""More than this is asked about first."""
MOST = 100_000


@click.command()
@click.argument("ids", nargs=-1, type=click.IntRange(1, 2**63 - 1))
@click.option("--quarantined", is_flag=True, help="Every webhook that was authentic and not understood.")
@with_filters
@click.option("--limit", default=1_000, show_default=True, type=click.IntRange(1, MOST), help="The newest so many.")
@click.option("--dry-run", "is_dry", is_flag=True, help="Change nothing, only say what would change.")
@click.option("--yes", is_flag=True, help="Do not ask first.")
@pass_shell
def replay(
    shell: Shell,
    ids: tuple[int, ...],
    quarantined: bool,
    filters: DeliveryFilters,
    limit: int,
    is_dry: bool,
    yes: bool,
) -> None:
    """Try again attempts by their IDS, those of a filter, or all in quarantine.

    Webhooks go through today's rules, calls check again whether they are still wanted. What is in step stays as it is.
    `deliveries --json` and `explain` show the ids. What is queued is looked at within about five seconds.
    """
    if [bool(ids), quarantined, filters != DeliveryFilters()].count(True) != 1:
        raise Misuse("Name ids, or give a filter such as --case or --reason, or --quarantined: one of the three.")
    this = shell.app.replay
    if ids:
        chosen = this.chosen_by_id(ids)
    else:
        chosen = this.chosen_in_quarantine(limit) if quarantined else this.chosen_by_filter(filters, limit)
    if not is_dry and len(chosen) > ASKS_FROM:
        confirm(f"Try {len(chosen)} attempts again?", is_given=yes, flag="--yes")
    report = _run(shell, chosen, is_dry=is_dry)
    if not is_dry and chosen:
        asked = {"ids": list(ids)} if ids else {"quarantined": True} if quarantined else {"filter": _words(filters)}
        this.record(shell.who, asked, report)
    _tell(report, is_dry=is_dry)


def _run(shell: Shell, chosen: list[Chosen], *, is_dry: bool) -> Report:
    """In portions, so that a bar can move; a rehearsal is one portion, because links have to be seen whole."""
    if is_dry:
        return shell.app.replay.run(chosen, is_dry=True)
    report = Report()
    with click.progressbar(
        length=len(chosen), label="Trying again", file=sys.stderr, hidden=len(chosen) <= AT_ONCE
    ) as bar:
        for start in range(0, len(chosen), AT_ONCE):
            portion = chosen[start : start + AT_ONCE]
            report.add(shell.app.replay.run(portion))
            bar.update(len(portion))
    return report


def _tell(report: Report, *, is_dry: bool) -> None:
    rows = [
        {
            "id": one.delivery_id or f"webhook {one.inbox_id}",
            "direction": "PD → Case" if one.direction == Direction.INBOUND else "Case → PD",
            "operation": one.operation,
            "case": one.case_name,
            "incident": one.incident_id,
            "result": one.result,
            "why": ": ".join(part for part in (one.reason, one.detail) if part),
        }
        for one in report.results[:ASKS_FROM]
    ]
    columns = {
        "id": "ATTEMPT",
        "direction": "DIRECTION",
        "operation": "OPERATION",
        "case": "CASE",
        "incident": "INCIDENT",
        "result": "RESULT",
        "why": "WHY",
    }
    table(rows, columns, "There are no such attempts.")
    if len(report.results) > ASKS_FROM:
        click.echo(f"… and {len(report.results) - ASKS_FROM} more.")
    click.echo()
    for change in report.changes:
        click.echo(f"{change.case_name}{f' and {change.incident_id}' if change.incident_id else ''}:")
        for text in change.undone:
            click.echo(f"  first: {text}")
        for text in change.changes:
            click.echo(f"  {text}")
    if not report.changes:
        click.echo(f"Nothing {'would change' if is_dry else 'changes'}.")
    counts = ", ".join(f"{count} {result}" for result, count in sorted(report.counts.items()))
    click.echo(f"{'Rehearsed' if is_dry else 'Tried again'}: {counts or 'nothing'}.")


def _words(filters: DeliveryFilters) -> dict[str, str]:
    return {name: str(value) for name in filters.__slots__ if (value := getattr(filters, name))}
