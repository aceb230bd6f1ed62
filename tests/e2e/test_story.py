"""The demo's story on a whole installation: both rides, step by step, as a new user would watch them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from pagerduty_sync import demo
from pagerduty_sync.embedded.installation import Installation
from pagerduty_sync.embedded.server import StartError
from tests.e2e.breakable import Breakable

ROOT = Path(__file__).parents[2]


@pytest.mark.e2e
def test_both_rides_hold_and_each_webhook_has_its_row_and_its_reason(breakable: Breakable) -> None:
    said: list[str] = []
    story = demo.Story(demo.Sides(breakable.installation), said.append)
    demo.play(story)
    assert story.held == sum(line.startswith("  ✓") for line in said)
    assert story.held >= 20


# ------------------------------------------------------------ the exit code


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An installation that is none: the demo's story decides alone."""
    (tmp_path / "log").mkdir()
    for worker in ("worker-inbound", "worker-outbound"):
        (tmp_path / "log" / f"{worker}.log").write_text(f"the last words of {worker}")

    @contextmanager
    def nothing(_: Callable[[str], None]) -> Iterator[Installation]:
        yield Installation("http://127.0.0.1:1", "http://127.0.0.1:1", tmp_path, None)  # type: ignore[arg-type]

    monkeypatch.setattr(demo, "an_installation", nothing)


@pytest.mark.usefixtures("installed")
def test_the_demo_ends_with_0_when_every_step_held(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(demo, "play", lambda story: story.step("it holds", lambda: True))
    assert demo.main(said.append) == 0
    assert said[-1] == "All 1 steps held."


@pytest.mark.usefixtures("installed")
def test_the_demo_ends_with_1_and_the_workers_last_words_when_a_step_does_not_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[str] = []
    monkeypatch.setattr(demo, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(demo, "play", lambda story: story.step("it holds", lambda: False))
    assert demo.main(said.append) == 1
    assert "  ✗ it holds" in said
    assert {"the last words of worker-inbound", "the last words of worker-outbound"} <= set(said)


def test_the_demo_ends_with_1_when_nothing_comes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def broken(_: Callable[[str], None]) -> Iterator[Installation]:
        raise StartError("port 5432 is taken")
        yield

    said: list[str] = []
    monkeypatch.setattr(demo, "an_installation", broken)
    assert demo.main(said.append) == 1
    assert said[-1] == "port 5432 is taken"


@pytest.mark.e2e
def test_an_interrupted_demo_stops_what_it_started_and_ends_with_130() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pagerduty_sync", "demo"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    try:
        for line in process.stdout:
            if "PostgreSQL is up" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
        assert process.wait(60) == 130, rest
        assert "Stopped." in rest
        assert "Traceback" not in rest
    finally:
        process.kill()
