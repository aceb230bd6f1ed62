"""`migrate`, `quickstart`, `status`, `demo`: what brings a service up and says how it is."""

from __future__ import annotations

import sys

import click

from pagerduty_sync.commands.shell import Shell, pass_shell, sentence
from pagerduty_sync.domain.connectors import Integration
from pagerduty_sync.handlers.quickstart import FirstAccount
from pagerduty_sync.simulator import seeds
from pagerduty_sync.stores import database
from pagerduty_sync.stores.overview import Overviews

SIMULATOR_NAME = "PagerDuty simulator"


@click.command()
@pass_shell
def migrate(shell: Shell) -> None:
    """Bring the database's tables up to date.

    Safe to run at any time and by several at once.
    """
    applied = database.migrate(shell.settings.require_database_url())
    for name in applied:
        click.echo(f"applied {name}")
    if not applied:
        click.echo("Everything is applied already.")


@click.command()
@pass_shell
def quickstart(shell: Shell) -> None:
    """Make a first configuration with the simulator.

    It has an account, a connector, a rule, a preset and an admin token. What is there already is kept, so it may
    be run again.
    """
    account = FirstAccount(
        name=SIMULATOR_NAME,
        base_url=f"http://127.0.0.1:{shell.settings.simulator_port}",
        api_key=seeds.FULL_KEY,
        email=seeds.BOT_EMAIL,
        service=seeds.CHECKOUT_API,
    )
    shell.app.quickstart.run(account, shell.settings.data_dir, lambda line: click.echo(sentence(line)))


@click.command()
@pass_shell
def status(shell: Shell) -> None:
    """The account, the links, and what waits."""
    integration = shell.app.integrations.only()
    click.echo(_account(integration))
    now = Overviews(shell.app.database).now()
    click.echo(f"Connectors: {now.connectors}. Routing rules switched on: {now.rules}.")
    click.echo(
        f"Links: {now.linked} in step, {now.opening} opening, {now.ended} ended; {now.parked} with parked actions."
    )
    click.echo(
        f"Waiting: webhooks {now.webhooks_waiting}, changes of Cases {now.case_changes_waiting}, calls to PagerDuty "
        f"{now.calls_due}. Webhooks in quarantine: {now.webhooks_quarantined}."
    )
    ages = shell.app.heartbeats.ages()
    told = ", ".join(f"{part} {age:.0f} s ago" for part, age in sorted(ages.items()))
    click.echo(f"Last signs of life: {told or 'none'}.")


def _account(integration: Integration | None) -> str:
    if integration is None:
        return "No PagerDuty account is connected."
    direction = "two-way" if integration.is_two_way else "one-way"
    reason = f": {integration.status_reason}" if integration.status_reason else ""
    key = f", key …{integration.api_key_last4}" if integration.api_key_last4 else ""
    return f"{integration.name} ({integration.base_url}{key}) is {integration.status}, {direction}{reason}."


@click.command()
def demo() -> None:
    """Play both rides on a throw-away installation."""
    from pagerduty_sync.demo import main

    sys.exit(main())
