"""The command behind `make run`, and the one to put into a service unit."""

import os
import sys
from collections.abc import Callable

import click

from pagerduty_sync.embedded import launcher
from pagerduty_sync.embedded.environment import control_socket
from pagerduty_sync.embedded.server import StartError
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.settings import Settings


def say(line: str) -> None:
    """One line to whoever watches; that nobody watches any more is no reason to fall over half way."""
    try:
        click.echo(line)
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group()
def main() -> None:
    """Everything on one machine. A server that no setting names is started beside the data."""


@main.command()
def run() -> None:
    """Start everything, a PagerDuty simulator and a first configuration included, until Ctrl-C."""
    _carry_out(lambda settings: launcher.run(settings, os.environ, say, rehearsal=True))


@main.command()
def serve() -> None:
    """Start what production needs, until a signal."""
    _carry_out(lambda settings: launcher.run(settings, os.environ, say, rehearsal=False))


@main.command()
def stop() -> None:
    """Stop what runs on this data directory, from another terminal."""
    _carry_out(lambda settings: launcher.stop(settings, say))


@main.command(context_settings={"ignore_unknown_options": True})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def control(words: tuple[str, ...]) -> None:
    """Pass an order to supervisord: status, restart web, tail -f web …"""

    def order(settings: Settings) -> None:
        socket = control_socket(settings.data_dir.expanduser().absolute())
        arguments = [
            sys.executable,
            "-m",
            "supervisor.supervisorctl",
            "-s",
            f"unix://{socket}",
            *(words or ("status",)),
        ]
        os.execv(sys.executable, arguments)  # noqa: S606 that is the point

    _carry_out(order)


def _carry_out(order: Callable[[Settings], None]) -> None:
    """Exit 2 when something must be set differently, 1 when something did not start."""
    try:
        order(Settings.from_environment())
    except SettingsError as exc:
        click.echo(str(exc), err=True)
        sys.exit(2)
    except StartError as exc:
        click.echo(str(exc), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="python -m pagerduty_sync.embedded")
