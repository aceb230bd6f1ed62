"""`cases`: look at Cases and change them, as people do on their page.

A change made here leaves its row in the same transaction; the sweep finds it within some seconds and brings it to the
incident, so the command itself need not reach the workers.
"""

from __future__ import annotations

import click

from pagerduty_sync.commands.shell import Commands, Misuse, Shell, choices, pass_shell, table
from pagerduty_sync.domain.cases import Actor, Case, CaseCategory, CasePriority, CaseStatus, TimelineEvent
from pagerduty_sync.stores.case_listing import CaseFilters

ACTOR = Actor("apiKey", id="cli", name="cli")


@click.group(cls=Commands)
def cases() -> None:
    """Look at Cases, make and change them.

    CASE is a name such as CASE-12, or an id. What is changed here reaches PagerDuty within about five seconds.
    """


@cases.command("list")
@click.option("--status", "statuses", multiple=True, type=choices(CaseStatus), help="May be repeated.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 1000))
@pass_shell
def list_cases(shell: Shell, statuses: tuple[str, ...], limit: int) -> None:
    """The newest Cases."""
    filters = CaseFilters(statuses=[CaseStatus(status) for status in statuses])
    found, _ = shell.app.cases.list_cases(filters, page_size=limit)
    rows = [
        {
            "name": case.name,
            "status": case.status,
            "priority": case.priority,
            "created": f"{case.created_at:%Y-%m-%d %H:%M:%S}",
            "title": case.title,
        }
        for case in found
    ]
    columns = {"name": "CASE", "status": "STATUS", "priority": "PRIORITY", "created": "CREATED (UTC)", "title": "TITLE"}
    table(rows, columns, "There are no such Cases.")


@cases.command()
@click.argument("case")
@pass_shell
def show(shell: Shell, case: str) -> None:
    """One Case with its incident and its timeline."""
    found = shell.app.cases.get_case(case)
    link = shell.app.links.of_case(found.id)
    override = f" (overrides {found.system_priority})" if found.override_priority else ""
    facts = {
        "Case": f"{found.name}  {found.id}",
        "Title": found.title,
        "Status": found.status,
        "Priority": f"{found.priority}{override}",
        "Category": found.category,
        "Labels": ", ".join(f"{key}={value}" for key, values in found.labels.items() for value in values),
        "Resolution": found.resolution_reason or "",
        "Incident": f"#{link.incident_number} {link.incident_url}" if link and link.incident_id else "",
        "Description": found.description,
    }
    for name, text in facts.items():
        if text:
            click.echo(f"{name + ':':<13}{text}")
    click.echo()
    for event in shell.app.cases.list_events(found.id):
        click.echo(f"{event.created_at:%Y-%m-%d %H:%M:%S}  {_told(event)}")


@cases.command()
@click.argument("title")
@click.option("--priority", default="P3", show_default=True, type=choices(CasePriority))
@click.option("--category", default="AVAILABILITY", show_default=True, type=choices(CaseCategory))
@click.option("--description", default="")
@click.option("--label", "labels", multiple=True, metavar="KEY=VALUE", help="May be repeated, also for one key.")
@pass_shell
def create(shell: Shell, title: str, priority: str, category: str, description: str, labels: tuple[str, ...]) -> None:
    """Make a Case; if a routing rule matches it, its incident is opened."""
    pairs: dict[str, list[str]] = {}
    for text in labels:
        key, separator, value = text.partition("=")
        if not separator:
            raise Misuse(f"--label {text} is not of the form KEY=VALUE.")
        pairs.setdefault(key, []).append(value)
    made = shell.app.cases.create_case(
        title, CasePriority(priority), CaseCategory(category), actor=ACTOR, description=description, labels=pairs
    )
    _tell(made)


@cases.command()
@click.argument("case")
@pass_shell
def acknowledge(shell: Shell, case: str) -> None:
    """Say that somebody is on it."""
    _tell(shell.app.cases.acknowledge(case, ACTOR))


@cases.command()
@click.argument("case")
@click.option("--reason", help="The resolution note.")
@pass_shell
def resolve(shell: Shell, case: str, reason: str | None) -> None:
    """Resolve a Case; its incident follows."""
    _tell(shell.app.cases.resolve(case, ACTOR, reason))


@cases.command()
@click.argument("case")
@pass_shell
def close(shell: Shell, case: str) -> None:
    """Close a Case for good; its incident stays as it is."""
    _tell(shell.app.cases.close(case, ACTOR))


@cases.command()
@click.argument("case")
@click.argument("text")
@pass_shell
def comment(shell: Shell, case: str, text: str) -> None:
    """Comment on a Case; the comment becomes a note."""
    shell.app.cases.add_comment(case, ACTOR, text)
    click.echo("Commented.")


@cases.command()
@click.argument("case")
@click.argument("priority", type=click.Choice([*CasePriority, "system"], case_sensitive=False))
@pass_shell
def priority(shell: Shell, case: str, priority: str) -> None:
    """Override a Case's priority, or go back to the system's."""
    override = None if priority == "system" else CasePriority(priority)
    _tell(shell.app.cases.override_priority(case, ACTOR, override))


def _tell(case: Case) -> None:
    click.echo(f"{case.name} is {case.status}, {case.priority}.")


def _told(event: TimelineEvent) -> str:
    """One line of the timeline in words."""
    words = event.content.get("unsafeText")
    if not words:
        words = ", ".join(f"{key} {value}" for key, value in event.content.items() if value not in (None, "", {}))
    via = " (PagerDuty)" if event.actor.kind == "pagerDuty" else ""
    return f"{event.actor.label}{via}: {event.kind} {words}".rstrip()
