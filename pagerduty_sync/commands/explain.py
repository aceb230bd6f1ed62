"""`explain`: one Case's, or one incident's, story in the order of time, and how it stands now."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime

import click

from pagerduty_sync.commands.shell import Misuse, Shell, pass_shell, table
from pagerduty_sync.handlers.story import Now, Step, Story, Wait


@click.command()
@click.argument("case", required=False)
@click.option("--incident", help="Id of a PagerDuty incident, also of one that belongs to no Case.")
@click.option("--ask", "asks", is_flag=True, help="Ask PagerDuty as well: the incident and the webhook subscription.")
@click.option("--json", "as_json", is_flag=True, help="As the API gives it.")
@pass_shell
def explain(shell: Shell, case: str | None, incident: str | None, asks: bool, as_json: bool) -> None:
    """What happened to CASE and its incident, and why.

    Every event from its arrival to its end, then how both sides stand, what waits for what, and the most probable cause
    when something is wrong. Changes nothing.
    """
    if (case is None) == (incident is None):
        raise Misuse("Name a Case, or an incident with --incident.")
    this = shell.app.explain
    story = this.case(case, asks=asks) if case is not None else this.incident(incident or "", asks=asks)
    if as_json:
        click.echo(json.dumps(asdict(story), default=_plain, indent=2, ensure_ascii=False))
        return
    click.echo(f"{story.subject}\n")
    if story.is_cut:
        click.echo("(older lines are left out)")
    for step in story.steps:
        click.echo(_line(step))
    if not story.steps:
        click.echo("Nothing is on record.")
    _tell_now(story)


def _line(step: Step) -> str:
    values = ", ".join(f"{name} {value}" for name, value in step.values.items() if name not in ("outcome", "cause"))
    number = f" [{step.about}]" if step.about.startswith("delivery:") else ""
    lines = [f"{step.at:%m-%d %H:%M:%S.%f}"[:-3] + f"  {step.stage:<9}  {' '.join(step.text.split())}{number}"]
    if values:
        lines.append(f"{'':<31}{' '.join(values.split())}")
    if step.rule:
        lines.append(f"{'':<31}→ {step.rule}")
    return "\n".join(lines)


def _tell_now(story: Story) -> None:
    now = story.now
    click.echo(f"\nNow: {_in_step(now)}")
    for name in ("case", "incident", "link"):
        facts = {key: value for key, value in getattr(now, name).items() if value and key != "id"}
        if facts:
            click.echo(f"  {name + ':':<10}" + ", ".join(f"{key} {value}" for key, value in facts.items()))
    if now.compared:
        columns = {"name": "FIELD", "case": "CASE", "incident": "INCIDENT AS SEEN", "verdict": "VERDICT", "rule": "WHY"}
        click.echo()
        table([asdict(one) for one in now.compared], columns, "")
    _list("Waits", [_wait(one) for one in now.waits])
    _list("Would be done", now.would_do)
    _list("Routing rules", now.rules if not now.link else ())
    _list("PagerDuty says", [f"{name}: {said}" for name, said in now.asked.items()])
    for number, cause in enumerate(now.causes):
        click.echo(f"\n{'Probable cause' if number == 0 else 'Also'}: {cause.code}. {cause.says}\n  Mend: {cause.mend}")


def _in_step(now: Now) -> str:
    if now.is_in_step is None:
        return "there is no pair"
    return "in step" if now.is_in_step else "not in step"


def _list(heading: str, lines: tuple[str, ...] | list[str] | object) -> None:
    texts = list(lines) if isinstance(lines, list | tuple) else []
    if texts:
        click.echo(f"\n{heading}:")
    for text in texts:
        click.echo(f"  {text}")


def _wait(wait: Wait) -> str:
    since = f", since {wait.since:%Y-%m-%d %H:%M:%S}" if wait.since else ""
    until = f", until {wait.until:%Y-%m-%d %H:%M:%S}" if wait.until else ""
    return f"{wait.what}{since}{until}"


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else str(value)
