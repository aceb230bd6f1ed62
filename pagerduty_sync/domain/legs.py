"""The three legs of the sync and how each is: one state, and in a sentence why and what to do about it.

Judged from plain signs, by `judge` alone: the same signs give the same verdict, and a worse sign never a better state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from pagerduty_sync.domain.connectors import IntegrationStatus


class Leg(StrEnum):
    INBOUND = "inbound"  # PagerDuty → us
    OUTBOUND = "outbound"  # us → PagerDuty
    CASE_SYSTEM = "case_system"  # us ⇄ the Cases


class LegState(StrEnum):
    """What somebody who was just woken up has to know."""

    WORKING = "working"  # everything gets through within seconds
    DEGRADED = "degraded"  # it gets through, but late, or not all of it: look at it today
    STOPPED = "stopped"  # nothing gets through this way until somebody mends it: look at it now
    OFF = "off"  # switched off or never set up: nothing is expected of it
    UNKNOWN = "unknown"  # nobody has looked lately; never a verdict, only what readers say of an old one


WELL = frozenset({LegState.WORKING, LegState.OFF})
"""The states that need nobody."""

LATE_SECONDS = 30.0
"""Webhooks and changes of Cases are handled within seconds, and a lost nudge is found after five: this late, workers
are missing or cannot keep up."""
STUCK_SECONDS = 300.0
"""Nobody who waits for an acknowledge waits that long."""
CALL_LATE_SECONDS, CALL_STUCK_SECONDS = 60.0, 600.0
"""Calls are paced, and a burst may take a minute; after ten the pace is no explanation any more."""
FAILING_SECONDS, FAILING_STUCK_SECONDS = 60.0, 300.0
"""A hiccup of PagerDuty is over within a minute."""
FAILING_SHARE, FAILING_LINKS = 0.5, 3
"""When every other link that wants a call fails, and not just one, it is not about single incidents."""
UNWATCHED_SECONDS = 90.0
"""Six looks of the watchdog."""
HEALED_AN_HOUR = 5
"""A read may now and then overtake a webhook on its way; more than this an hour were never delivered."""
UNREAD_SECONDS, UNREAD_PERIODS = 60.0, 4
UNREAD_STUCK_SECONDS, UNREAD_STUCK_PERIODS = 300.0, 12
"""Of the log, where it stands in for webhooks: so many readings have failed, and for so long at least."""

RANK = {LegState.WORKING: 0, LegState.DEGRADED: 1, LegState.STOPPED: 2}


@dataclass(frozen=True, slots=True)
class AccountSigns:
    """`problem` is why the account is not as it should be, where the subscription has no part in that."""

    status: IntegrationStatus
    is_two_way: bool = True
    problem: str = ""


@dataclass(frozen=True, slots=True)
class InboundSigns:
    """All `…_seconds` say for how long something has been so; 0 when it is not."""

    way: Literal["webhooks", "poll", "both"] = "webhooks"
    poll_seconds: float = 15.0
    subscription_problem: str = ""
    # The subscription was just mended, and its test event is on its way.
    is_awaited: bool = False
    # Since PagerDuty last showed the subscription as it should be, and since its log was last read.
    unwatched_seconds: float = 0.0
    unread_seconds: float = 0.0
    # The oldest webhook that is not handled.
    webhook_seconds: float = 0.0
    # Changes that were learned by reading in the last hour.
    healed: int = 0


@dataclass(frozen=True, slots=True)
class OutboundSigns:
    """Calls to either API of PagerDuty: those that are due and not made, and those that fail and are tried again."""

    has_service_keys: bool = False
    calls: int = 0
    call_seconds: float = 0.0
    failing: int = 0
    failing_seconds: float = 0.0
    # Of all that want a call.
    failing_share: float = 0.0
    # Given up for good in the last hour.
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class CaseSigns:
    """`problem` is what the Case system said instead of an answer."""

    problem: str = ""
    changes: int = 0
    change_seconds: float = 0.0
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class Signs:
    """Everything the verdicts are made of. `account` is None before the first connect."""

    account: AccountSigns | None = None
    inbound: InboundSigns = field(default_factory=InboundSigns)
    outbound: OutboundSigns = field(default_factory=OutboundSigns)
    cases: CaseSigns = field(default_factory=CaseSigns)


@dataclass(frozen=True, slots=True)
class Verdict:
    state: LegState
    why: str


def judge(signs: Signs) -> Mapping[Leg, Verdict]:
    """How every leg is."""
    return {
        Leg.INBOUND: _inbound(signs),
        Leg.OUTBOUND: _outbound(signs),
        Leg.CASE_SYSTEM: _case_system(signs.cases),
    }


# ------------------------------------------------------------------ PagerDuty → us


def _inbound(signs: Signs) -> Verdict:
    account, here = signs.account, signs.inbound
    if account is None:
        return Verdict(LegState.OFF, "No PagerDuty account is connected; `pagerduty-sync connect` connects one.")
    if not account.is_two_way:
        return Verdict(LegState.OFF, "Two-way is switched off, so nothing comes back from PagerDuty.")
    found = _in_time(here.webhook_seconds, LATE_SECONDS, STUCK_SECONDS, _webhooks_wait(signs))
    if account.status is IntegrationStatus.CONNECTING:
        found.append(_BEING_CONNECTED)
    if here.way == "poll":
        return _all_in_all(found + _log(account, here), f"PagerDuty's log is read every {here.poll_seconds:g} seconds.")
    ways = [_webhooks(account, here)]
    if here.way == "both":
        ways.append(_log(account, here))
    every = [one for way in ways for one in way]
    # Two ways: as long as one of them is open, things get through.
    if any(_all_in_all(way, "").state is not LegState.STOPPED for way in ways):
        every = [Verdict(LegState.DEGRADED, one.why) for one in every]
    return _all_in_all(found + every, "PagerDuty's webhooks arrive and are handled within seconds.")


def _webhooks(account: AccountSigns, here: InboundSigns) -> list[Verdict]:
    found = []
    if account.status is IntegrationStatus.DISCONNECTED:
        found.append(
            Verdict(
                LegState.DEGRADED,
                "Webhooks are still taken, but nothing can be read and the subscription cannot be looked after: "
                f"{_sentence(account.problem)}",
            )
        )
    if here.subscription_problem and here.is_awaited:
        why = f"The webhook subscription was just mended: {_sentence(here.subscription_problem)} Nothing is to be done."
        found.append(Verdict(LegState.DEGRADED, why))
    elif here.subscription_problem:
        why = (
            f"PagerDuty's webhooks do not reach us: {_sentence(here.subscription_problem)} "
            "What happens there is read every few minutes instead; `pagerduty-sync doctor` looks for the cause."
        )
        found.append(Verdict(LegState.STOPPED, why))
    elif here.unwatched_seconds > UNWATCHED_SECONDS:
        why = (
            f"For {_span(here.unwatched_seconds)} PagerDuty has not said whether it still delivers to us; it is away, "
            "or no watchdog runs: look for subscription_check_put_off in the workers' log."
        )
        found.append(Verdict(LegState.DEGRADED, why))
    if here.way == "webhooks" and here.healed > HEALED_AN_HOUR:
        why = (
            f"In the last hour {here.healed} changes were learned by reading and not by webhook: PagerDuty did not "
            "deliver them. Look for subscription_mended in the workers' log; if nothing was mended, run "
            "`pagerduty-sync doctor`."
        )
        found.append(Verdict(LegState.DEGRADED, why))
    return found


def _log(account: AccountSigns, here: InboundSigns) -> list[Verdict]:
    if account.status is IntegrationStatus.DISCONNECTED:
        return [Verdict(LegState.STOPPED, f"PagerDuty's log cannot be read: {_sentence(account.problem)}")]
    why = (
        f"PagerDuty's log has not been read for {_span(here.unread_seconds)}; it is away, or no worker reads: look for "
        "reconcile_put_off in the workers' log."
    )
    late = max(UNREAD_SECONDS, UNREAD_PERIODS * here.poll_seconds)
    stuck = max(UNREAD_STUCK_SECONDS, UNREAD_STUCK_PERIODS * here.poll_seconds)
    return _in_time(here.unread_seconds, late, stuck, why)


def _webhooks_wait(signs: Signs) -> str:
    wait = f"The oldest webhook has waited {_span(signs.inbound.webhook_seconds)} to be handled; "
    if signs.cases.problem:
        return wait + "the Case system does not answer."
    return wait + "see that worker-inbound runs, and what its log says."


# ------------------------------------------------------------------ us → PagerDuty


def _outbound(signs: Signs) -> Verdict:
    account, here = signs.account, signs.outbound
    if account is None and not here.has_service_keys:
        return Verdict(LegState.OFF, "No PagerDuty account is connected; `pagerduty-sync connect` connects one.")
    found = []
    if account is not None and account.status is IntegrationStatus.DISCONNECTED:
        why = f"Nothing is sent to PagerDuty, and all of it waits: {_sentence(account.problem)}"
        found.append(Verdict(LegState.STOPPED, why))
    elif account is not None and account.problem:
        found.append(Verdict(LegState.STOPPED, f"PagerDuty refuses what we write: {_sentence(account.problem)}"))
    elif account is not None and account.status is IntegrationStatus.CONNECTING:
        found.append(_BEING_CONNECTED)
    wait = (
        f"{_count(here.calls, 'call')} to PagerDuty {_wait(here.calls)}, the oldest for "
        f"{_span(here.call_seconds)}; see that worker-outbound runs, and whether rate_limited is frequent in "
        "`pagerduty-sync query 'countby reason'`."
    )
    found += _in_time(here.call_seconds, CALL_LATE_SECONDS, CALL_STUCK_SECONDS, wait)
    found += _failing(here)
    found += _given_up(here.given_up, "PagerDuty", "outbound")
    return _all_in_all(found, "Calls to PagerDuty go out as they fall due.")


def _failing(here: OutboundSigns) -> list[Verdict]:
    if not here.failing or here.failing_seconds <= FAILING_SECONDS:
        return []
    why = (
        f"Calls about {_count(here.failing, 'incident')} have failed for {_span(here.failing_seconds)} and are tried "
        "again; `pagerduty-sync deliveries --outcome deferred` shows what PagerDuty said."
    )
    is_everywhere = here.failing >= FAILING_LINKS and here.failing_share >= FAILING_SHARE
    is_long = here.failing_seconds > FAILING_STUCK_SECONDS
    return [Verdict(LegState.STOPPED if is_everywhere and is_long else LegState.DEGRADED, why)]


# ------------------------------------------------------------------ the Cases


def _case_system(here: CaseSigns) -> Verdict:
    found = []
    if here.problem:
        found.append(Verdict(LegState.STOPPED, f"The Case system does not answer: {_sentence(here.problem)}"))
    wait = (
        f"{_count(here.changes, 'change')} of Cases {_wait(here.changes)} to be looked at, the oldest for "
        f"{_span(here.change_seconds)}; see that worker-inbound runs, and what its log says."
    )
    found += _in_time(here.change_seconds, LATE_SECONDS, STUCK_SECONDS, wait)
    found += _given_up(here.given_up, "the Case system", "inbound")
    return _all_in_all(found, "The Case system answers, and changes of Cases are handled within seconds.")


# ------------------------------------------------------------------ in common

_BEING_CONNECTED = Verdict(LegState.DEGRADED, "The account is being connected, which takes seconds.")


def _in_time(seconds: float, late: float, stuck: float, why: str) -> list[Verdict]:
    if seconds <= late:
        return []
    return [Verdict(LegState.STOPPED if seconds > stuck else LegState.DEGRADED, why)]


def _given_up(count: int, where: str, direction: str) -> list[Verdict]:
    if not count:
        return []
    why = (
        f"{_count(count, 'write')} to {where} {_was(count)} given up for good in the last hour; "
        f"`pagerduty-sync deliveries --outcome failed --direction {direction}` shows why, `replay` tries again."
    )
    return [Verdict(LegState.DEGRADED, why)]


def _all_in_all(found: Sequence[Verdict], fine: str) -> Verdict:
    """The worst state, and every reason, the worst first."""
    if not found:
        return Verdict(LegState.WORKING, fine)
    ordered = sorted(found, key=lambda one: -RANK[one.state])
    return Verdict(ordered[0].state, " ".join(one.why for one in ordered))


def _sentence(text: str) -> str:
    return f"{text.rstrip('. ')}."


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _wait(number: int) -> str:
    return "waits" if number == 1 else "wait"


def _was(number: int) -> str:
    return "was" if number == 1 else "were"


def _span(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}s"
    return f"{seconds:.0f} seconds"
