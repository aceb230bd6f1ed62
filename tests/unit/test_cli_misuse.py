"""The command line as far as it needs no server: help, misuse, settings, and how things are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from pagerduty_sync.cli import main
from pagerduty_sync.commands.filters import Moment
from pagerduty_sync.commands.shell import Shell, sentence, table, with_local_servers
from pagerduty_sync.settings import Settings


def run(*words: str, env: Mapping[str, str] | None = None, said: str | None = None) -> Result:
    return CliRunner().invoke(main, words, obj=Shell(env or {"PAGERDUTY_SYNC_DATA_DIR": "/nowhere"}), input=said)


def every_command(command: click.Command = main, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from every_command(inner, (*path, name))


@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_every_command_has_help_that_says_something(path: tuple[str, ...]) -> None:
    result = run(*path, "--help")
    assert result.exit_code == 0
    assert len(result.output.splitlines()) > 4


def test_what_there_is_can_be_listed() -> None:
    named = set(every_command())
    for expected in (
        "migrate", "quickstart", "connect", "disconnect", "two-way", "doctor", "status", "demo", "deliveries",
        "connectors list", "connectors add", "rules list", "rules add", "routing test", "link show",
        "cases list", "cases show", "cases create", "cases acknowledge", "cases resolve", "cases close",
        "cases comment",
        "tokens create", "tokens list", "tokens revoke",
    ):  # fmt: skip
        assert tuple(expected.split()) in named


@pytest.mark.parametrize(
    "words", ["migrate", "status", "cases list", "deliveries", "connectors list", "tokens list", "quickstart"]
)
def test_without_settings_a_sentence_names_the_variable(words: str) -> None:
    result = run(*words.split())
    assert result.exit_code == 2
    assert "PAGERDUTY_SYNC_" in result.stderr
    assert "is not set" in result.stderr
    assert "Traceback" not in result.output
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_bad_setting_is_said_without_a_traceback() -> None:
    result = run("status", env={"PAGERDUTY_SYNC_WEB_PORT": "many"})
    assert (result.exit_code, "PAGERDUTY_SYNC_WEB_PORT" in result.stderr) == (2, True)


def test_a_database_that_is_not_there_is_said_with_the_way_to_start_it() -> None:
    env = {
        "PAGERDUTY_SYNC_DATABASE_URL": "postgresql://nobody:hidden-password@127.0.0.1:1/none",
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS": "x" * 43 + "=",
    }
    result = run("migrate", env=env)
    assert result.exit_code == 1
    assert "make run" in result.stderr
    assert "hidden-password" not in result.output


def test_doctor_says_each_line_it_can_and_fails() -> None:
    env = {
        "PAGERDUTY_SYNC_DATABASE_URL": "postgresql://x@127.0.0.1:1/x",
        "PAGERDUTY_SYNC_DATA_DIR": "/nowhere",
    }
    result = run("doctor", env=env)
    assert result.exit_code == 1
    assert "✗ database:" in result.output
    assert "✗ Redis:" in result.output
    assert "PAGERDUTY_SYNC_REDIS_URL" in result.output


def test_no_option_takes_a_key() -> None:
    options = {option for command in main.commands.values() for each in command.params for option in each.opts}
    assert "--api-key-file" in options
    assert not options & {"--api-key", "--key", "--token", "--secret"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("connect --email a@b.example", "add --consent"),
        ("connect --consent --email a@b.example", "PAGERDUTY_SYNC_API_KEY"),
        ("connectors add X --service S --direction colour=both", "status|priority|comments|resolution_notes=both|in|"),
        ("connectors add X --service S --direction status=sideways", "both|in|out|off"),
        ("cases create Title --label team", "KEY=VALUE"),
        ("cases create Title --priority P9", "P9"),
        ("deliveries --since yesterday", "90m, 24h, 7d"),
        ("deliveries --reason because", "because"),
        ("deliveries --limit 0", "0 is not in the range"),
        ("rules add X", "--to"),
        ("link", "show"),
    ],
)
def test_misuse_is_said_and_exits_with_2(words: str, says: str) -> None:
    env = {
        "PAGERDUTY_SYNC_DATABASE_URL": "postgresql://x@127.0.0.1:1/x",
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS": "x" * 43 + "=",
    }
    result = run(*words.split(), env=env)
    assert result.exit_code == 2
    assert says in result.output


def test_the_servers_of_the_data_directory_are_found(tmp_path: Path) -> None:
    for name, text in {
        "postgres-password": "pg",
        "postgres-port": "5555\n",
        "valkey-password": "vk",
        "valkey-port": "6666\n",
        "encryption-key": "k" * 43 + "=\n",
    }.items():
        (tmp_path / name).write_text(text)
    found = with_local_servers(Settings(data_dir=tmp_path))
    assert found.database_url == "postgresql://pagerduty_sync:pg@127.0.0.1:5555/pagerduty_sync"
    assert found.redis_url == "redis://:vk@127.0.0.1:6666/0"
    assert found.encryption_keys == ("k" * 43 + "=",)
    own = Settings(
        data_dir=tmp_path, database_url="postgresql://own", redis_url="redis://own", encryption_keys=("own",)
    )
    assert with_local_servers(own) == own
    assert with_local_servers(Settings(data_dir=tmp_path / "none")).database_url is None


@pytest.mark.parametrize(("text", "hours"), [("90m", 1.5), ("2h", 2), ("7d", 168), ("3600s", 1)])
def test_since_counts_back(text: str, hours: float) -> None:
    at = Moment().convert(text, None, None)
    assert abs(datetime.now(UTC) - timedelta(hours=hours) - at) < timedelta(seconds=5)


def test_since_takes_a_time_and_assumes_utc() -> None:
    at = Moment().convert("2026-04-01T12:00", None, None)
    assert at == datetime(2026, 4, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "shown"),
    [("it failed", "It failed."), ("It failed.", "It failed."), ("really?!", "Really?!"), (" odd ", "Odd.")],
)
def test_a_sentence_begins_and_ends_as_one(text: str, shown: str) -> None:
    assert sentence(text) == shown


def test_a_table_is_aligned_and_one_line_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    table([{"a": "one\ntwo", "b": None}, {"a": "x", "b": 3}], {"a": "A", "b": "B"}, "nothing")
    assert capsys.readouterr().out == "A        B\none two\nx        3\n"
    table([], {"a": "A"}, "nothing")
    assert capsys.readouterr().out == "nothing\n"
