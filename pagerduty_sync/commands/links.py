"""`link add|remove|retry|drop` and `sync`: what an operator does to pairs by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

from pagerduty_sync.commands.deliveries import link
from pagerduty_sync.commands.shell import Shell, pass_shell
from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.errors import NotFoundError

SOON = "The workers take it up within seconds."


@link.command("add")
@click.argument("case")
@click.argument("incident")
@click.option("--dry-run", is_flag=True, help="Only show what would happen.")
@pass_shell
def add(shell: Shell, case: str, incident: str, dry_run: bool) -> None:
    """Make a pair of CASE and an INCIDENT that is there already."""
    made = shell.app.linking.link(case, incident, actor=_actor(shell), who=shell.who, is_dry_run=dry_run)
    _show_plans([made.plan])
    click.echo(
        "Nothing was written." if dry_run else f"{made.link.case_name} and {incident} are a pair. {SOON}", err=True
    )


@link.command("remove")
@click.argument("case")
@click.option("--reason", required=True, help="Why; both sides are told.")
@pass_shell
def remove(shell: Shell, case: str, reason: str) -> None:
    """Take CASE and its incident apart; the Case opens no second one afterwards."""
    for warning in shell.app.unlinking.unlink(_link_id(shell, case), reason, actor=_actor(shell), who=shell.who):
        click.echo(warning, err=True)
    click.echo("They are no longer a pair.", err=True)


@link.command("retry")
@click.argument("case")
@click.option("--key", help="Only this one of the parked things `link show` names.")
@pass_shell
def retry(shell: Shell, case: str, key: str | None) -> None:
    """Try again what was finally refused."""
    tried = shell.app.link_care.retry(_link_id(shell, case), key, who=shell.who)
    click.echo(f"To be tried again: {', '.join(tried)}. {SOON}", err=True)


@link.command("drop")
@click.argument("case")
@click.argument("key")
@pass_shell
def drop(shell: Shell, case: str, key: str) -> None:
    """Let a refusal be: it is no longer shown, and the sides stay as they are."""
    shell.app.link_care.drop(_link_id(shell, case), key, who=shell.who)
    click.echo(f"{key} is dropped.", err=True)


@click.command()
@click.argument("case", required=False)
@click.option("--dry-run", is_flag=True, help="Only show what would be done, by what is known now.")
@pass_shell
def sync(shell: Shell, case: str | None, dry_run: bool) -> None:
    """Look at CASE's pair now, or at all of them, and read their incidents."""
    care = shell.app.link_care
    if dry_run:
        found = care.plan_case(case) if case else care.plan_all()
    else:
        found = care.sync_case(case) if case else care.sync_all()
    _show_plans(found.plans)
    if dry_run:
        click.echo(
            f"{found.looked_at} pairs looked at, {len(found.plans)} with something to do. Nothing was written.",
            err=True,
        )
        return
    cut = " PagerDuty's budget was used up before all were compared." if found.is_cut_short else ""
    click.echo(f"{len(found.link_ids)} pairs will be looked at, {found.reads} incidents read. {SOON}{cut}", err=True)


def _show_plans(plans: Sequence[Mapping[str, Any]]) -> None:
    for plan in plans:
        click.echo(json.dumps(plan, ensure_ascii=False, indent=2, default=str))


def _actor(shell: Shell) -> Actor:
    return Actor("apiKey", name=shell.who)


def _link_id(shell: Shell, case: str) -> str:
    found = shell.app.cases.get_case(case)
    linked = shell.app.links.of_case(found.id)
    if linked is None:
        raise NotFoundError(f"{found.name} has no incident.")
    return linked.id
