"""`presets`: how a Case or an alert reads in PagerDuty."""

from __future__ import annotations

import json

import click

from pagerduty_sync.commands.shell import Commands, Shell, pass_shell, table
from pagerduty_sync.domain.connectors import ConnectorPath, Preset
from pagerduty_sync.errors import InvalidRequestError, NotFoundError


@click.group(cls=Commands)
def presets() -> None:
    """How a Case or an alert reads in PagerDuty."""


@presets.command("list")
@pass_shell
def list_presets(shell: Shell) -> None:
    """Every preset, with the fields it has templates for."""
    rows = [
        {
            "name": one.name,
            "entity": one.entity,
            "path": one.path.value,
            "kind": "built in" if one.is_builtin else "custom",
            "fields": " ".join(one.templates),
        }
        for one in shell.app.routing.presets()
    ]
    columns = {"name": "NAME", "entity": "FOR", "path": "PATH", "kind": "KIND", "fields": "FIELDS"}
    table(rows, columns, "There are no presets.")


@presets.command("add")
@click.argument("name")
@click.option(
    "--field",
    "fields",
    multiple=True,
    required=True,
    metavar="FIELD=TEMPLATE",
    help="Such as title={{ case.title }}; may be repeated. `presets show` has examples.",
)
@click.option("--path", type=click.Choice([path.value for path in ConnectorPath]), default="bidirectional")
@click.option("--for", "entity", type=click.Choice(["cases", "alerts"]), default="cases", show_default=True)
@pass_shell
def add_preset(shell: Shell, name: str, fields: tuple[str, ...], path: str, entity: str) -> None:
    """Make a preset NAME; each template is checked against a sample before it is saved."""
    templates = {}
    for field in fields:
        key, equals, template = field.partition("=")
        if not equals:
            raise InvalidRequestError(f"{field!r} is not FIELD=TEMPLATE.", "field")
        templates[key.strip()] = template
    made = shell.app.preset_changes.create(name, ConnectorPath(path), entity, templates, who=shell.who)
    click.echo(f"Preset {made.name} made.")


@presets.command("show")
@click.argument("name")
@click.option("--case", help="Show how this Case would read. Default: a sample.")
@pass_shell
def show_preset(shell: Shell, name: str, case: str | None) -> None:
    """The templates of preset NAME, and how a Case reads through them."""
    preset = _named(shell, name)
    for field, template in preset.templates.items():
        click.echo(f"{field}:")
        click.echo("".join(f"    {line}\n" for line in template.splitlines()), nl=False)
    preview = shell.app.preset_changes.preview(preset, shell.app.cases.get_case(case) if case else None)
    click.echo(f"\n{'The sample' if preview.is_sample else ''} {preview.name} reads:".replace("\n ", "\n"))
    click.echo(json.dumps(preview.fields, ensure_ascii=False, indent=2))
    if preview.problem:
        click.echo(preview.problem, err=True)


@presets.command("remove")
@click.argument("name")
@pass_shell
def remove_preset(shell: Shell, name: str) -> None:
    """Delete a custom preset that no rule uses."""
    shell.app.preset_changes.delete(_named(shell, name).id, who=shell.who)
    click.echo(f"Preset {name} is gone.")


def _named(shell: Shell, name: str) -> Preset:
    preset = shell.app.routing.preset_by_name(name)
    if preset is None:
        raise NotFoundError(f"There is no preset {name}; `pagerduty-sync presets list` names them.")
    return preset
