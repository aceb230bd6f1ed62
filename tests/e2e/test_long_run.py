"""The long run in small, on the installation of the other tests; and what it says when something is wrong."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pytest

from tests.crashes.report import Result, last_line, table
from tests.crashes.run import run
from tests.crashes.strikes import KINDS, schedule
from tests.e2e.agreement import Disagreement, Kind
from tests.e2e.breakable import Breakable
from tests.e2e.lives import Life, Pace


@pytest.mark.e2e
@pytest.mark.crash
def test_cases_that_live_through_random_faults_agree_in_the_end(breakable: Breakable, tmp_path: Path) -> None:
    result = run(breakable, tmp_path, cases=8, faults=4, seed=7, pace=Pace(longest_pause_seconds=1.0), say=print)
    assert result.is_good, f"{result.failure}\n{result.story}"
    assert result.faults.total() >= 2
    assert (result.writes or 0) > 8 * 3


def test_the_seed_decides_the_faults_and_every_kind_is_among_them() -> None:
    first, again, other = (schedule(60, random.Random(seed)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert {strike.kind for strike in first[: len(KINDS)]} == set(KINDS)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("differs", "divergent_pairs"),
        ("missing or doubled", "missing_or_doubled"),
        ("opened twice", "incidents_opened_twice"),
        ("re-opened", "reopened_by_us"),
        ("unfinished", "work_left_over"),
    ],
)
def test_what_disagrees_is_counted_in_the_table_and_in_the_last_line(
    kind: Kind, name: str, breakable: Breakable
) -> None:
    life = Life(breakable, "led_by_the_case", "life 0", random.Random(1))
    found = [Disagreement(kind, "twice the same", life), Disagreement(kind, "of one life", life)]
    result = Result(7, 200, Counter({KINDS[0]: 3}), found=found, failure="2 things disagree")
    said = json.loads(last_line(result))
    assert (said["good"], said[name], said["faults"][KINDS[0]]) == (False, 1 if kind == "differs" else 2, 3)
    assert f"  {KINDS[0]}" in table(result)
    assert sum(said[other] for other in NUMBERS) == said[name]


NUMBERS = ("divergent_pairs", "missing_or_doubled", "incidents_opened_twice", "reopened_by_us", "work_left_over")
