"""`secrets`: the stored ones, and the key they are encrypted with."""

from __future__ import annotations

import click

from pagerduty_sync.commands.shell import Commands, Shell, pass_shell
from pagerduty_sync.stores.rotation import SecretRotation


@click.group(cls=Commands)
def secrets() -> None:
    """Stored secrets and the key they are encrypted with."""


@secrets.command()
@pass_shell
def rotate(shell: Shell) -> None:
    """Put every stored secret under the newest encryption key.

    First list the new key in front of the old one in PAGERDUTY_SYNC_ENCRYPTION_KEYS and restart everything; then run
    this; then take the old key away.
    """
    counts = SecretRotation(shell.app.database, shell.app.box).run()
    shell.app.audit.add(None, shell.who, "rotate", "encryption key", None, dict(counts))
    done = ", ".join(f"{count} of {table}" for table, count in counts.items() if count)
    click.echo(f"Under the newest key now: {done or 'nothing was stored'}. The older keys can be taken away.")
