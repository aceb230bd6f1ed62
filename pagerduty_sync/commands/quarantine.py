"""`quarantine`: webhooks that were authentic and not understood."""

from __future__ import annotations

import click

from pagerduty_sync.commands.shell import Commands, Failure, Shell, pass_shell, table


@click.group(cls=Commands)
def quarantine() -> None:
    """Webhooks that were authentic and not understood.

    After an upgrade, `replay --quarantined` tries them again.
    """


@quarantine.command("list")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 500))
@pass_shell
def list_quarantined(shell: Shell, limit: int) -> None:
    """What is there, oldest first."""
    found, more = shell.app.quarantine.find(limit=limit)
    rows = [
        {
            "id": one.id,
            "received": f"{one.received_at:%Y-%m-%d %H:%M:%S}",
            "reason": one.reason,
            "event": one.event_id,
            "size": f"{len(one.body)} bytes",
        }
        for one in found
    ]
    columns = {"id": "ID", "received": "RECEIVED (UTC)", "reason": "REASON", "event": "EVENT", "size": "SIZE"}
    table(rows, columns, "Nothing is in quarantine.")
    if more:
        click.echo("… and more.")


@quarantine.command()
@click.argument("webhook", type=click.IntRange(1, 2**63 - 1))
@pass_shell
def show(shell: Shell, webhook: int) -> None:
    """One WEBHOOK, with its body as text."""
    found = shell.app.quarantine.get(webhook)
    click.echo(f"Webhook {found.id}, received {found.received_at:%Y-%m-%d %H:%M:%S} UTC: {found.reason}")
    click.echo(found.text)


@quarantine.command()
@click.argument("webhooks", nargs=-1, required=True, type=click.IntRange(1, 2**63 - 1))
@click.option("--reason", required=True, help="Why nobody needs it; kept in the audit.")
@pass_shell
def discard(shell: Shell, webhooks: tuple[int, ...], reason: str) -> None:
    """Be done with some WEBHOOKS."""
    gone = shell.app.discarding.discard(webhooks, reason, who=shell.who)
    if not gone:
        raise Failure("None of these is in quarantine.")
    click.echo(f"Discarded: {', '.join(str(id_) for id_ in gone)}.")
