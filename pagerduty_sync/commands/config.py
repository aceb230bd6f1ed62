"""`config`: the configuration as a text, what a text would change, and making it so."""

from __future__ import annotations

from pathlib import Path

import click

from pagerduty_sync.commands.shell import Commands, Shell, pass_shell
from pagerduty_sync.errors import InvalidRequestError


@click.group(cls=Commands)
def config() -> None:
    """Configuration as code, in one YAML file."""


@config.command()
@pass_shell
def export(shell: Shell) -> None:
    """Write what is set up to standard output; in place of a secret stands a variable of the environment."""
    click.echo(shell.app.configuration_file.export_text(), nl=False)


@config.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@pass_shell
def plan(shell: Shell, file: Path) -> None:
    """Show what FILE would change, field by field; nothing is written."""
    changes = shell.app.configuration_file.plan(_text(file))
    for change in changes:
        click.echo(str(change))
    click.echo(f"{len(changes)} changes." if changes else "Nothing would change.", err=True)


@config.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_shell
def apply(shell: Shell, file: Path, yes: bool) -> None:
    """Make it so. What FILE does not name is left alone; a second time changes nothing."""
    text = _text(file)
    changes = shell.app.configuration_file.plan(text)
    for change in changes:
        click.echo(str(change))
    if not changes:
        click.echo("Nothing to change.", err=True)
        return
    if not yes:
        click.confirm(f"Make these {len(changes)} changes?", abort=True)
    made = shell.app.configuration_file.apply(text, shell.who)
    click.echo(f"{len(made)} changes made.", err=True)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise InvalidRequestError(f"{file} is not UTF-8 text: {exc.reason}.", "file") from exc
