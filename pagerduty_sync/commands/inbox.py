"""`inbox`: the bodies of old webhooks, moved to a file and back."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from pagerduty_sync.commands.filters import Moment
from pagerduty_sync.commands.shell import Commands, Shell, pass_shell


@click.group(cls=Commands)
def inbox() -> None:
    """The bodies of webhooks that were handled."""


@inbox.command("export")
@click.option("--before", type=Moment(), required=True, metavar="TIME", help="Received before: 7d ago, or a time.")
@click.option("--to", required=True, type=click.Path(path_type=Path), help="A directory, or a file to be made.")
@click.option("--delete", "deletes", is_flag=True, help="Take out of the database what has been written.")
@pass_shell
def export_bodies(shell: Shell, before: datetime, to: Path, deletes: bool) -> None:
    """Write bodies into a file, one JSON object a line, gzip; what waits or is in quarantine stays.

    The rows themselves stay until their retention ends. Without a body, a webhook cannot be replayed or told of in full
    until `inbox import` brings it back.
    """
    done = shell.app.offloading.export(before, to, deletes=deletes, who=shell.who)
    if done.path is None:
        click.echo("There is nothing to write.")
        return
    click.echo(f"{done.path}: {done.written} webhooks" + (f", {done.cleared} of them cleared." if deletes else "."))


@inbox.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@pass_shell
def import_bodies(shell: Shell, file: Path) -> None:
    """Bring the bodies of an exported FILE back to the webhooks that are still on record."""
    done = shell.app.offloading.restore(file, who=shell.who)
    click.echo(f"{done.restored} of {done.read} webhooks have their body back.")
