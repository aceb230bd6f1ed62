"""What each leg is judged to be, sign by sign, and what holds for every set of signs."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagerduty_sync.domain.connectors import IntegrationStatus
from pagerduty_sync.domain.legs import (
    HEALED_AN_HOUR,
    RANK,
    AccountSigns,
    CaseSigns,
    InboundSigns,
    Leg,
    LegState,
    OutboundSigns,
    Signs,
    judge,
)

CONNECTED = AccountSigns(IntegrationStatus.CONNECTED)
REVOKED = AccountSigns(IntegrationStatus.DISCONNECTED, problem="PagerDuty no longer accepts the API key")
HOUR = 3600.0


def signs(account: AccountSigns | None = CONNECTED, **changes: Any) -> Signs:
    """Everything fine, but for these signs; each belongs to the one leg that has it."""
    made = Signs(account)
    for name in ("inbound", "outbound", "cases"):
        known = {each.name for each in fields(getattr(made, name))}
        of_leg = {key.removeprefix(f"{name}_"): value for key, value in changes.items() if key.startswith(f"{name}_")}
        assert set(of_leg) <= known
        made = replace(made, **{name: replace(getattr(made, name), **of_leg)})
    return made


def test_when_everything_is_fine_every_leg_works() -> None:
    assert {verdict.state for verdict in judge(signs()).values()} == {LegState.WORKING}


@pytest.mark.parametrize(
    ("found", "leg", "state", "says"),
    [
        pytest.param(signs(None), Leg.INBOUND, "off", "pagerduty-sync connect", id="nothing is connected"),
        pytest.param(signs(None), Leg.OUTBOUND, "off", "pagerduty-sync connect", id="nothing to send to"),
        pytest.param(signs(None), Leg.CASE_SYSTEM, "working", "answers", id="Cases work without an account"),
        pytest.param(
            signs(None, outbound_has_service_keys=True), Leg.OUTBOUND, "working", "go out", id="service keys alone"
        ),
        pytest.param(
            replace(signs(), account=replace(CONNECTED, is_two_way=False)), Leg.INBOUND, "off", "Two-way", id="one-way"
        ),
        pytest.param(
            replace(signs(), account=replace(CONNECTED, is_two_way=False)),
            Leg.OUTBOUND,
            "working",
            "",
            id="one-way out",
        ),
        pytest.param(signs(REVOKED), Leg.OUTBOUND, "stopped", "no longer accepts", id="a revoked key sends nothing"),
        pytest.param(signs(REVOKED), Leg.INBOUND, "degraded", "still taken", id="webhooks come without a key"),
        pytest.param(
            signs(REVOKED, inbound_way="poll"), Leg.INBOUND, "stopped", "cannot be read", id="no log without it"
        ),
        pytest.param(signs(REVOKED, inbound_way="both"), Leg.INBOUND, "degraded", "still taken", id="one of two ways"),
        pytest.param(
            signs(AccountSigns(IntegrationStatus.DEGRADED, problem="the user bot@acme.example is gone")),
            Leg.OUTBOUND,
            "stopped",
            "bot@acme.example",
            id="a vanished user writes nothing",
        ),
        pytest.param(
            signs(AccountSigns(IntegrationStatus.DEGRADED, problem="the user bot@acme.example is gone")),
            Leg.INBOUND,
            "working",
            "arrive",
            id="a vanished user hears everything",
        ),
        pytest.param(
            signs(AccountSigns(IntegrationStatus.CONNECTING)),
            Leg.OUTBOUND,
            "degraded",
            "takes seconds",
            id="connecting",
        ),
        pytest.param(
            signs(inbound_subscription_problem="the test event did not arrive"),
            Leg.INBOUND,
            "stopped",
            "doctor",
            id="webhooks do not arrive",
        ),
        pytest.param(
            signs(inbound_subscription_problem="the test event is awaited", inbound_is_awaited=True),
            Leg.INBOUND,
            "degraded",
            "just mended",
            id="just mended",
        ),
        pytest.param(
            signs(inbound_subscription_problem="the test event did not arrive", inbound_way="both"),
            Leg.INBOUND,
            "degraded",
            "do not reach us",
            id="the log is read underneath",
        ),
        pytest.param(
            signs(inbound_subscription_problem="gone", inbound_way="both", inbound_unread_seconds=HOUR),
            Leg.INBOUND,
            "stopped",
            "not been read",
            id="neither way is open",
        ),
        pytest.param(
            signs(inbound_subscription_problem="gone", inbound_way="poll"),
            Leg.INBOUND,
            "working",
            "every 15 seconds",
            id="poll needs no subscription",
        ),
        pytest.param(
            signs(inbound_unwatched_seconds=91),
            Leg.INBOUND,
            "degraded",
            "whether it still delivers",
            id="PagerDuty away",
        ),
        pytest.param(
            signs(inbound_unwatched_seconds=HOUR, inbound_way="poll"), Leg.INBOUND, "working", "", id="no matter"
        ),
        pytest.param(signs(inbound_unread_seconds=HOUR), Leg.INBOUND, "working", "", id="the log does not matter"),
        pytest.param(
            signs(inbound_unread_seconds=61, inbound_way="poll"), Leg.INBOUND, "degraded", "61 s", id="log late"
        ),
        pytest.param(
            signs(inbound_unread_seconds=301, inbound_way="poll"), Leg.INBOUND, "stopped", "5 min", id="log stuck"
        ),
        pytest.param(
            signs(inbound_unread_seconds=301, inbound_way="poll", inbound_poll_seconds=300),
            Leg.INBOUND,
            "working",
            "",
            id="a slow poll is given its time",
        ),
        pytest.param(signs(inbound_webhook_seconds=30), Leg.INBOUND, "working", "", id="a webhook may wait"),
        pytest.param(
            signs(inbound_webhook_seconds=31), Leg.INBOUND, "degraded", "worker-inbound", id="a webhook is late"
        ),
        pytest.param(signs(inbound_webhook_seconds=301), Leg.INBOUND, "stopped", "5 minutes", id="webhooks are stuck"),
        pytest.param(
            signs(inbound_webhook_seconds=301, cases_problem="no"),
            Leg.INBOUND,
            "stopped",
            "the Case system does not",
            id="webhooks wait for the Case system",
        ),
        pytest.param(signs(inbound_healed=HEALED_AN_HOUR), Leg.INBOUND, "working", "", id="a read overtakes a webhook"),
        pytest.param(
            signs(inbound_healed=HEALED_AN_HOUR + 1),
            Leg.INBOUND,
            "degraded",
            "6 changes were learned by reading",
            id="healed above the number",
        ),
        pytest.param(signs(inbound_healed=500, inbound_way="poll"), Leg.INBOUND, "working", "", id="poll heals all"),
        pytest.param(signs(inbound_healed=500, inbound_way="both"), Leg.INBOUND, "working", "", id="who was faster"),
        pytest.param(
            signs(outbound_calls=1, outbound_call_seconds=61),
            Leg.OUTBOUND,
            "degraded",
            "1 call to PagerDuty waits",
            id="late",
        ),
        pytest.param(
            signs(outbound_calls=9, outbound_call_seconds=601),
            Leg.OUTBOUND,
            "stopped",
            "9 calls to PagerDuty wait,",
            id="calls are stuck",
        ),
        pytest.param(
            signs(outbound_failing=1, outbound_failing_seconds=HOUR, outbound_failing_share=1.0),
            Leg.OUTBOUND,
            "degraded",
            "1 incident",
            id="one incident fails",
        ),
        pytest.param(
            signs(outbound_failing=3, outbound_failing_seconds=301, outbound_failing_share=0.5),
            Leg.OUTBOUND,
            "stopped",
            "3 incidents",
            id="every other call fails",
        ),
        pytest.param(
            signs(outbound_failing=300, outbound_failing_seconds=60, outbound_failing_share=1.0),
            Leg.OUTBOUND,
            "working",
            "",
            id="a hiccup",
        ),
        pytest.param(
            signs(outbound_given_up=1), Leg.OUTBOUND, "degraded", "1 write to PagerDuty was given", id="refused"
        ),
        pytest.param(
            signs(cases_given_up=2), Leg.CASE_SYSTEM, "degraded", "2 writes to the Case system were", id="Case no"
        ),
        pytest.param(
            signs(cases_problem="no such host"), Leg.CASE_SYSTEM, "stopped", "no such host.", id="no Case system"
        ),
        pytest.param(
            signs(cases_changes=2, cases_change_seconds=31),
            Leg.CASE_SYSTEM,
            "degraded",
            "2 changes of Cases wait",
            id="Cases late",
        ),
        pytest.param(
            signs(cases_changes=1, cases_change_seconds=301),
            Leg.CASE_SYSTEM,
            "stopped",
            "1 change of Cases waits",
            id="stuck",
        ),
    ],
)
def test_what_a_sign_makes_of_a_leg(found: Signs, leg: Leg, state: str, says: str) -> None:
    verdict = judge(found)[leg]
    assert verdict.state == state
    assert says in verdict.why


def test_every_reason_is_told_the_worst_first() -> None:
    why = judge(signs(REVOKED, outbound_calls=4, outbound_call_seconds=90, outbound_given_up=2))[Leg.OUTBOUND].why
    assert why.index("Nothing is sent") < why.index("4 calls") < why.index("2 writes")


# ------------------------------------------------------------------ for every set of signs

seconds = st.floats(0, 1e6)
counts = st.integers(0, 10_000)
problems = st.sampled_from(["", "a problem"])
accounts = st.none() | st.builds(AccountSigns, st.sampled_from(list(IntegrationStatus)), st.booleans(), problems)
all_signs = st.builds(
    Signs,
    accounts,
    st.builds(
        InboundSigns,
        way=st.sampled_from(["webhooks", "poll", "both"]),
        poll_seconds=st.floats(2, 3600),
        subscription_problem=problems,
        is_awaited=st.booleans(),
        unwatched_seconds=seconds,
        unread_seconds=seconds,
        webhook_seconds=seconds,
        healed=counts,
    ),
    st.builds(
        OutboundSigns,
        has_service_keys=st.booleans(),
        calls=counts,
        call_seconds=seconds,
        failing=counts,
        failing_seconds=seconds,
        failing_share=st.floats(0, 1),
        given_up=counts,
    ),
    st.builds(CaseSigns, problem=problems, changes=counts, change_seconds=seconds, given_up=counts),
)

WORSE: dict[str, tuple[str, ...]] = {
    "inbound": ("unwatched_seconds", "unread_seconds", "webhook_seconds", "healed"),
    "outbound": ("calls", "call_seconds", "failing", "failing_seconds", "failing_share", "given_up"),
    "cases": ("changes", "change_seconds", "given_up"),
}
WORSE_NUMBERS = [(part, name) for part, names in WORSE.items() for name in names]


@given(all_signs)
def test_every_set_of_signs_has_its_verdicts_and_always_the_same(found: Signs) -> None:
    verdicts = judge(found)
    assert set(verdicts) == set(Leg)
    assert judge(found) == verdicts
    for verdict in verdicts.values():
        assert verdict.state is not LegState.UNKNOWN
        assert verdict.why.endswith(".")
        assert verdict.why[0].isupper() or verdict.why[0].isdigit()


def no_better(before: Signs, after: Signs) -> None:
    was, now = judge(before), judge(after)
    for leg in Leg:
        assert (was[leg].state is LegState.OFF) == (now[leg].state is LegState.OFF)
        if was[leg].state is not LegState.OFF:
            assert RANK[now[leg].state] >= RANK[was[leg].state], leg


@given(all_signs, st.sampled_from(WORSE_NUMBERS), st.floats(0, 1e6))
def test_a_larger_number_never_makes_a_leg_better(found: Signs, which: tuple[str, str], more: float) -> None:
    part, name = which
    before = getattr(getattr(found, part), name)
    no_better(found, replace(found, **{part: replace(getattr(found, part), **{name: before + type(before)(more)})}))


@given(all_signs)
def test_a_problem_never_makes_a_leg_better(found: Signs) -> None:
    worse = [
        replace(found, cases=replace(found.cases, problem="it is away")),
        replace(
            found, inbound=replace(found.inbound, subscription_problem=found.inbound.subscription_problem or "gone")
        ),
        replace(found, inbound=replace(found.inbound, is_awaited=False)),
    ]
    if found.account is not None:
        worse.append(replace(found, account=replace(found.account, problem="a problem")))
        disconnected = replace(found.account, status=IntegrationStatus.DISCONNECTED, problem="the key is refused")
        worse.append(replace(found, account=disconnected))
    for one in worse:
        no_better(found, one)
