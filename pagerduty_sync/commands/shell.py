"""What every command shares: the settings, the application built when it is needed, errors as sentences, and tables."""

from __future__ import annotations

import dataclasses
import getpass
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import psycopg
import structlog

from pagerduty_sync import bootstrap
from pagerduty_sync.embedded import postgres
from pagerduty_sync.errors import InvalidRequestError, SettingsError, SyncError
from pagerduty_sync.settings import Settings

HOW_TO_START = "Nothing may be running here: start it with `make run`, or set PAGERDUTY_SYNC_DATABASE_URL."


class Shell:
    """One run of the program. Nothing is read or opened before a command asks for it."""

    def __init__(self, env: Mapping[str, str] = os.environ) -> None:
        self._env = env
        self._settings: Settings | None = None
        self._application: bootstrap.Application | None = None

    @property
    def settings(self) -> Settings:
        """Raises SettingsError."""
        if self._settings is None:
            self._settings = with_local_servers(Settings.from_environment(self._env))
        return self._settings

    @property
    def app(self) -> bootstrap.Application:
        """Raises SettingsError for what is missing in the environment."""
        if self._application is None:
            self._application = bootstrap.build(self.settings)
        return self._application

    @property
    def who(self) -> str:
        """Whom the audit names."""
        try:
            return f"cli ({getpass.getuser()})"
        except (OSError, KeyError):
            return "cli"

    def close(self) -> None:
        if self._application is not None:
            self._application.close()


pass_shell = click.make_pass_decorator(Shell)


def with_local_servers(settings: Settings) -> Settings:
    """The settings, completed by what `make run` keeps in the data directory when no addresses are set."""
    home = settings.data_dir.expanduser()
    found: dict[str, Any] = {}
    password, port = _kept(home / "postgres-password"), _kept(home / "postgres-port")
    if settings.database_url is None and password and port:
        found["database_url"] = f"postgresql://{postgres.NAME}:{password}@127.0.0.1:{port}/{postgres.NAME}"
    password, port = _kept(home / "valkey-password"), _kept(home / "valkey-port")
    if settings.redis_url is None and password and port:
        found["redis_url"] = f"redis://:{password}@127.0.0.1:{port}/0"
    key = _kept(home / "encryption-key")
    if not settings.encryption_keys and key:
        found["encryption_keys"] = (key,)
    return dataclasses.replace(settings, **found)


def _kept(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeError):
        return ""


class Failure(click.ClickException):
    """Something failed: one sentence on stderr."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        click.echo(self.format_message(), err=True, file=file)


class Misuse(Failure):
    """The command or a setting must change."""

    exit_code = 2


class Commands(click.Group):
    """A group whose commands fail with a sentence instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SyncError as exc:
            if isinstance(exc.__cause__, psycopg.OperationalError):
                raise Failure(f"{sentence(str(exc))} {HOW_TO_START}") from exc
            is_misuse = isinstance(exc, SettingsError | InvalidRequestError)
            raise (Misuse if is_misuse else Failure)(sentence(str(exc))) from exc


def quiet_logs() -> None:
    """Leave the terminal to what was asked for; what went wrong is said by the command itself."""
    logging.basicConfig(level=logging.CRITICAL, stream=sys.stderr)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))


def sentence(text: str) -> str:
    """A message with a capital and a full stop, as the parts of an error may lack them."""
    text = text.strip()
    text = text if text.endswith((".", "!", "?", "…", ":")) else f"{text}."
    return text[:1].upper() + text[1:]


def say(line: str) -> None:
    """A step under way, for a person; standard output is kept for what was asked for."""
    click.echo(f"  {line} …", err=True)


def confirm(question: str, *, is_given: bool, flag: str) -> None:
    """Go on after a yes; without anybody to ask, the flag must have said so."""
    if is_given:
        return
    if not sys.stdin.isatty():
        raise Misuse(f"Nobody is here to confirm; add {flag}.")
    click.confirm(question, abort=True)


def table(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], nothing: str) -> None:
    """Rows as aligned columns, `columns` from field to heading; the last column may be as long as it likes."""
    if not rows:
        click.echo(nothing)
        return
    cells = [list(columns.values())] + [[_cell(row.get(name)) for name in columns] for row in rows]
    widths = [max(len(line[at]) for line in cells) for at in range(len(columns))]
    for line in cells:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cell(value: Any) -> str:
    return "" if value is None else " ".join(str(value).split())


def choices(values: type[Any]) -> click.Choice[str]:
    """An option's values from an enumeration, whatever their case."""
    return click.Choice([str(each.value) for each in values], case_sensitive=False)
