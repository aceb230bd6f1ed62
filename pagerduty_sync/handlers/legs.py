"""Looking at the legs by the clock, and telling how they are to whoever asks. Calls no PagerDuty."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

import structlog

from pagerduty_sync.domain.connectors import Integration, IntegrationStatus
from pagerduty_sync.domain.deliveries import Direction
from pagerduty_sync.domain.legs import (
    WELL,
    AccountSigns,
    CaseSigns,
    InboundSigns,
    Leg,
    LegState,
    OutboundSigns,
    Signs,
    judge,
)
from pagerduty_sync.errors import NotFoundError, SyncError
from pagerduty_sync.handlers import subscription
from pagerduty_sync.handlers.subscription import SubscriptionKeeper
from pagerduty_sync.stores.integrations import ROTATING, Integrations
from pagerduty_sync.stores.leg_signs import Healed, LegSigns, Standing, Waiting
from pagerduty_sync.stores.legs import Legs, StoredLeg

log = structlog.get_logger(__name__)

STALE_SECONDS = 60.0
"""The clock looks every quarter of a minute; a verdict older than this is nobody's any more."""
NOBODY = "00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class LegNow:
    """One leg as a reader is told. `since` and `looked_at` are None when nobody has ever looked."""

    leg: Leg
    state: LegState
    why: str
    since: datetime | None = None
    looked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Condition:
    """All legs, and how many changes no webhook had told of."""

    legs: Sequence[LegNow]
    healed: Healed

    @property
    def is_well(self) -> bool:
        """Every leg works, or is off on purpose."""
        return all(one.state in WELL for one in self.legs)


class LegWatch:
    """`way` and `poll_seconds` say how PagerDuty's events come in; `get_case` asks the Case system something."""

    def __init__(
        self,
        *,
        legs: Legs,
        signs: LegSigns,
        integrations: Integrations,
        keeper: SubscriptionKeeper,
        get_case: Callable[[str], object],
        way: Literal["webhooks", "poll", "both"],
        poll_seconds: float,
    ) -> None:
        self._legs = legs
        self._signs = signs
        self._integrations = integrations
        self._keeper = keeper
        self._get_case = get_case
        self._way = way
        self._poll_seconds = poll_seconds

    def look(self) -> None:
        """Judge every leg and write it down; one line of log for each whose state has changed."""
        verdicts = judge(self._gathered())
        for leg, was in self._legs.record(verdicts).items():
            now = verdicts[leg]
            tell = log.info if now.state in WELL else log.warning
            tell("leg_changed", leg=leg.value, was=was.value if was else None, state=now.state.value, why=now.why)

    def legs(self) -> list[LegNow]:
        """Every leg by the last look, which does not count any more when it is old."""
        latest = self._legs.latest()
        return [_told(leg, latest.get(leg.value)) for leg in Leg]

    def condition(self) -> Condition:
        return Condition(self.legs(), self._signs.healed())

    # ------------------------------------------------------------ gathering

    def _gathered(self) -> Signs:
        integration = self._integrations.only()
        waiting, standing, given_up = self._signs.waiting(), self._signs.standing(), self._signs.given_up()
        outbound = OutboundSigns(
            has_service_keys=standing.has_service_keys,
            calls=waiting.calls,
            call_seconds=_seconds(waiting, waiting.oldest_call),
            failing=waiting.failing,
            failing_seconds=_seconds(waiting, waiting.failing_since),
            failing_share=waiting.failing / max(waiting.wanting, 1),
            given_up=given_up.get(Direction.OUTBOUND, 0),
        )
        cases = CaseSigns(
            problem=self._case_system_problem(),
            changes=waiting.changes,
            change_seconds=_seconds(waiting, waiting.oldest_change),
            given_up=given_up.get(Direction.INBOUND, 0),
        )
        if integration is None:
            return Signs(None, outbound=outbound, cases=cases)
        account = AccountSigns(integration.status, integration.is_two_way, _problem_of(integration))
        return Signs(account, self._inbound(integration, standing, waiting), outbound, cases)

    def _inbound(self, integration: Integration, standing: Standing, waiting: Waiting) -> InboundSigns:
        problem = ""
        if subscription.is_about_subscription(integration.status_reason):
            problem = integration.status_reason
        elif not standing.has_subscription:
            problem = "there is no webhook subscription of ours"
        return InboundSigns(
            way=self._way,
            poll_seconds=self._poll_seconds,
            subscription_problem=problem,
            is_awaited=problem == self._keeper.awaited(integration.id),
            unwatched_seconds=_seconds(waiting, standing.right_at),
            unread_seconds=_seconds(waiting, standing.read_at),
            webhook_seconds=_seconds(waiting, waiting.oldest_webhook),
            healed=self._signs.healed().last_hour,
        )

    def _case_system_problem(self) -> str:
        """What the Case system says instead of an answer to a question it can answer at once."""
        try:
            self._get_case(NOBODY)
        except NotFoundError:
            return ""
        except SyncError as exc:
            return str(exc)
        return ""


def _problem_of(integration: Integration) -> str:
    """Why the account is not as it should be, when the subscription has no part in that."""
    is_out = integration.status is IntegrationStatus.DISCONNECTED
    if integration.status_reason == ROTATING or not (is_out or subscription.is_degraded_otherwise(integration)):
        return ""
    return integration.status_reason


def _seconds(waiting: Waiting, since: datetime | None) -> float:
    return max((waiting.now - since).total_seconds(), 0.0) if since else 0.0


def _told(leg: Leg, stored: StoredLeg | None) -> LegNow:
    mend = "see that beat and worker-outbound run."
    if stored is None:
        return LegNow(leg, LegState.UNKNOWN, f"Nobody has looked yet; {mend}")
    if stored.age > STALE_SECONDS:
        why = f"Nobody has looked for {stored.age:.0f} seconds; {mend} It was {stored.state} then: {stored.why}"
        return LegNow(leg, LegState.UNKNOWN, why, stored.looked_at, stored.looked_at)
    return LegNow(leg, LegState(stored.state), stored.why, stored.since, stored.looked_at)
