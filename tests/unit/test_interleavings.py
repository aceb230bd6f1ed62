"""Every short sequence of what people can do on either side, and every way in which the sync can keep up with it.

Exhaustive on plain values: no database, no HTTP. Sequences of up to four steps; `make interleavings` plays longer ones.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.pool import ThreadPool

import pytest

from pagerduty_sync.domain.cases import Case, CaseStatus
from pagerduty_sync.domain.connectors import Policy
from pagerduty_sync.domain.links import Ledger, Link
from pagerduty_sync.domain.planning import plan
from pagerduty_sync.domain.plans import Plan
from tests import pure_world
from tests.interleavings import __main__ as command
from tests.interleavings.checks import FAILED, TABLE
from tests.interleavings.play import STEPS, WAYS, Part, parts, played, take
from tests.interleavings.report import told
from tests.interleavings.tally import Tally, tally_of
from tests.pure_world import CHANGED_BY_CLOSE, REOPENED, RESOLVED_BY_MERGE, World


@pytest.mark.parametrize("way", WAYS)
def test_every_short_sequence_ends_well_and_never_makes_it_worse(way: str) -> None:
    """I5 is checked by the world itself at each write: it refuses to re-open or to change a Case that is over."""
    tally = tally_of(Part(way, 4))
    assert tally.first_broken is None, told(tally.first_broken)
    if way == "all webhooks arrive":
        assert {end.rule for _, end in tally.ends} == {end.rule for end in TABLE}


def test_the_parts_together_are_every_sequence_once() -> None:
    way = "all webhooks arrive"
    together = Tally()
    for part in parts(3):
        if part.way == way:
            together.join(tally_of(part))
    assert together == tally_of(Part(way, 3))


@pytest.mark.parametrize("way", WAYS)
def test_a_step_that_cannot_be_taken_changes_nothing_so_it_need_not_be_played(way: str) -> None:
    impossible = 0
    for _, world in played(Part(way, 3)):
        assert isinstance(world, World)
        for step in STEPS:
            same = world.fork()
            if not take(same, step):
                impossible += 1
                WAYS[way](same)
                assert same == world
    assert impossible > 1000


# ------------------------------------------------------------------ a planner that breaks a promise is found out


def reads_nothing_first(link: Link, ledger: Ledger, case: Case, policy: Policy, *, is_fresh: bool) -> Plan:
    return plan(link, ledger, case, policy, is_fresh=True)


def knows_no_merge(link: Link, ledger: Ledger, case: Case, policy: Policy, *, is_fresh: bool) -> Plan:
    return plan(replace(link, merged_into=None), ledger, case, policy, is_fresh=is_fresh)


def takes_closed_for_resolved(link: Link, ledger: Ledger, case: Case, policy: Policy, *, is_fresh: bool) -> Plan:
    if case.status is CaseStatus.CLOSED:
        case = replace(case, status=CaseStatus.RESOLVED)
    return plan(link, ledger, case, policy, is_fresh=is_fresh)


def raises_at_a_resolve(link: Link, ledger: Ledger, case: Case, policy: Policy, *, is_fresh: bool) -> Plan:
    return {CaseStatus.ACTIVE: plan(link, ledger, case, policy, is_fresh=is_fresh)}[case.status]


@pytest.mark.parametrize(
    ("planner", "way", "promise", "path"),
    [
        (reads_nothing_first, "none arrives before the end", REOPENED, ["PagerDuty: merge", "Case: acknowledge"]),
        (knows_no_merge, "all webhooks arrive", RESOLVED_BY_MERGE, ["PagerDuty: merge"]),
        (takes_closed_for_resolved, "all is taken up at the end", CHANGED_BY_CLOSE, ["Case: close"]),
        (raises_at_a_resolve, "all webhooks arrive", FAILED, ["Case: acknowledge"]),
    ],
    ids=["re-opens", "resolves by a merge", "changes the incident of a closed Case", "raises"],
)
def test_what_breaks_a_promise_is_counted_and_told_step_by_step(
    planner: Callable[..., Plan], way: str, promise: str, path: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pure_world, "plan", planner)
    tally = tally_of(Part(way, 2))
    assert tally.broken[promise] > 0
    assert tally.first_broken is not None
    assert [": ".join(step) for step in tally.first_broken.path] == path
    story = told(tally.first_broken)
    assert all(f"{number}. {step}" in story for number, step in enumerate(path, 1))
    assert f"✗ {promise}" in story


@pytest.mark.parametrize(("planner", "code"), [(plan, 0), (knows_no_merge, 1)], ids=["kept", "broken"])
def test_the_command_ends_with_its_summary_and_fails_when_a_promise_is_broken(
    planner: Callable[..., Plan], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pure_world, "plan", planner)
    # Another process would not see the other planner.
    monkeypatch.setattr(command, "Pool", lambda *_: ThreadPool(1))
    monkeypatch.setattr("sys.argv", ["interleavings", "--length", "1"])
    assert command.main() == code
    *_, last = capsys.readouterr().out.splitlines()
    assert (sum(json.loads(last)["broken"].values()) > 0) is bool(code)
