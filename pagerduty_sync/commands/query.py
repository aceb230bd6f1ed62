"""`pagerduty-sync query`: a question in DataPrime, answered as a table, as JSON or as CSV."""

from __future__ import annotations

import csv
import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import datetime, timedelta

import click

from pagerduty_sync.commands.filters import Moment
from pagerduty_sync.commands.shell import with_local_servers
from pagerduty_sync.dataprime.errors import DataPrimeError
from pagerduty_sync.dataprime.records import cell, flat
from pagerduty_sync.errors import SyncError
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.database import Database
from pagerduty_sync.stores.queries import DEFAULT_LIMIT, LARGEST_LIMIT, Queries, QueryResult

WIDEST_CELL = 60


@click.command()
@click.argument("text", metavar="[QUERY]", required=False)
@click.option("--json", "shape", flag_value="json", help="One JSON object a line.")
@click.option("--csv", "shape", flag_value="csv", help="CSV with a heading.")
@click.option("--since", type=Moment(), help="A time, or how long ago: 90m, 24h, 7d. [default: 24h]")
@click.option("--until", type=Moment(), help="A time, or how long ago. [default: now]")
@click.option("--limit", type=click.IntRange(1, LARGEST_LIMIT), default=DEFAULT_LIMIT, show_default=True)
def query(text: str | None, shape: str | None, since: datetime | None, until: datetime | None, limit: int) -> None:
    """Ask a QUERY in DataPrime; without one, or with -, it is read from the standard input.

    It is about the log of deliveries, or, with `source case_state_updates`, about how Cases changed.

    \b
    pagerduty-sync query "countby reason"
    pagerduty-sync query --since 7d "filter outcome == 'failed' | choose at, case, reason, detail"
    pagerduty-sync query "source case_state_updates | countby metadata.trigger"
    """
    if text is None or text == "-":
        text = sys.stdin.read()
    try:
        result = _run(text, since, until, limit)
    except DataPrimeError as exc:
        raise click.ClickException(_pointed(text, exc)) from None
    except SyncError as exc:
        raise click.ClickException(str(exc)) from None
    if shape == "json":
        for row in result.rows:
            click.echo(json.dumps(flat(result.columns, row), ensure_ascii=False))
    elif shape == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(column.name for column in result.columns)
        writer.writerows([cell(value) for value in row] for row in result.rows)
    else:
        _show(result)
    for warning in result.warnings:
        click.echo(warning, err=True)


def _run(text: str, since: datetime | None, until: datetime | None, limit: int) -> QueryResult:
    # Beside `make run` the database of its data directory is asked, as by every other command.
    database = Database(with_local_servers(Settings.from_environment()).require_database_url())
    try:
        return Queries(database).run(text, since=since, until=until, limit=limit)
    finally:
        database.close()


def _show(result: QueryResult) -> None:
    names = [result.columns[place].name.removeprefix("sync.") for place in result.shown]
    cells = [[_printable(cell(row[place])) for place in result.shown] for row in result.rows]
    for line in table([names, *cells]):
        click.echo(line)
    hours = (result.until - result.since) / timedelta(hours=1)
    rows = "1 row" if len(cells) == 1 else f"{len(cells)} rows"
    click.echo(
        f"\n{rows} in {result.seconds * 1000:.0f} ms, of the {hours:.0f} hours since {result.since:%F %H:%M}Z", err=True
    )


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of cells under each other, the first row as the heading."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "  ".join("-" * width for width in widths), *lines[1:]]


def _printable(text: str) -> str:
    """The text on one line and harmless to a terminal: what comes from outside may hold control characters."""
    text = "".join("\ufffd" if unicodedata.category(character) in ("Cc", "Cf") else character for character in text)
    return text if len(text) <= WIDEST_CELL else text[: WIDEST_CELL - 1] + "…"


def _pointed(text: str, exc: DataPrimeError) -> str:
    """The message, under the line it is about and a mark at the column."""
    lines = text.split("\n")
    if not 1 <= exc.line <= len(lines):
        return str(exc)
    line = _printable_line(lines[exc.line - 1])
    return f"{exc}\n\n  {line}\n  {' ' * (exc.column - 1)}^"


def _printable_line(line: str) -> str:
    return "".join(" " if unicodedata.category(character) in ("Cc", "Cf") else character for character in line)
