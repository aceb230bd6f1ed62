"""`connect`, `disconnect`, `two-way`: the PagerDuty account."""

from __future__ import annotations

import os
import sys
from typing import TextIO

import click

from pagerduty_sync.commands.shell import Failure, Misuse, Shell, confirm, pass_shell, say, sentence
from pagerduty_sync.domain.connectors import Integration
from pagerduty_sync.errors import NotFoundError
from pagerduty_sync.handlers.connection import ConnectReport

API_KEY_VARIABLE = "PAGERDUTY_SYNC_API_KEY"


@click.command()
@click.option("--name", default="PagerDuty", show_default=True, help="What to call the integration here.")
@click.option("--email", default="", help="Login e-mail of the user to act as. Not needed with a user's own token.")
@click.option("--region", default="us", show_default=True, help="us, eu, or a base URL of your own.")
@click.option(
    "--two-way/--one-way", "is_two_way", default=False, help="Also follow what happens in PagerDuty. Default: one-way."
)
@click.option("--api-key-file", type=click.File(encoding="utf-8"), help="File with the API key; - reads it from stdin.")
@click.option("--consent", is_flag=True, help="Agree that Case texts, comments and users' names go to PagerDuty.")
@pass_shell
def connect(
    shell: Shell, name: str, email: str, region: str, is_two_way: bool, api_key_file: TextIO | None, consent: bool
) -> None:
    """Connect the PagerDuty account, or reconnect it.

    The API key is read from --api-key-file, else from PAGERDUTY_SYNC_API_KEY, else asked for; it is never taken from
    the command line, where others could see it. Make one in PagerDuty under Integrations, API Access Keys, with
    "Read-only" cleared. With --two-way the key's owner must be allowed to manage webhooks, and PagerDuty must reach
    PAGERDUTY_SYNC_PUBLIC_URL.
    """
    confirm(
        "Case titles, descriptions, comments and users' names will be sent to PagerDuty. Do you agree?",
        is_given=consent,
        flag="--consent",
    )
    report = shell.app.connection.connect(
        name=name,
        api_key=_api_key(api_key_file),
        email=email,
        region=region,
        is_two_way=is_two_way,
        consent=True,
        who=shell.who,
        say=say,
    )
    _tell(report)


@click.command()
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_shell
def disconnect(shell: Shell, yes: bool) -> None:
    """Forget the PagerDuty account.

    Our webhook subscription there is deleted. Refused while connectors use it. To stop listening but keep the
    account, use `two-way off`.
    """
    integration = _the_integration(shell)
    confirm(f"Forget the integration {integration.name} and its key?", is_given=yes, flag="--yes")
    for done in shell.app.connection.remove(integration.id, shell.who):
        click.echo(done)


@click.command("two-way")
@click.argument("state", type=click.Choice(["on", "off"]))
@pass_shell
def two_way(shell: Shell, state: str) -> None:
    """Follow what happens in PagerDuty, or only send.

    Links stay either way; while it is off they go one way.
    """
    _tell(shell.app.connection.set_two_way(_the_integration(shell).id, state == "on", shell.who, say))


def _api_key(file: TextIO | None) -> str:
    if file is not None:
        key = file.read().strip()
    else:
        key = os.environ.get(API_KEY_VARIABLE, "").strip()
        if not key and sys.stdin.isatty():
            key = str(click.prompt("API key", hide_input=True)).strip()
    if not key:
        raise Misuse(f"No API key was given; use --api-key-file or {API_KEY_VARIABLE}.")
    return key


def _the_integration(shell: Shell) -> Integration:
    integration = shell.app.integrations.only()
    if integration is None:
        raise NotFoundError("No PagerDuty account is connected; `pagerduty-sync connect` does that.")
    return integration


def _tell(report: ConnectReport) -> None:
    integration = report.integration
    for line in report.done:
        click.echo(f"✓ {line}")
    for line in report.warnings:
        click.echo(f"! {line}")
    direction = "two-way" if integration.is_two_way else "one-way"
    click.echo(f"{integration.name} is {integration.status} ({direction}, {integration.base_url}).")
    if report.problem:
        raise Failure(sentence(report.problem))
