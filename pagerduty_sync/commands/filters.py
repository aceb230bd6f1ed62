"""What commands that ask the log of deliveries share: a moment in time, and the filters."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from pagerduty_sync.commands.shell import choices
from pagerduty_sync.domain.deliveries import Direction, Outcome, Reason
from pagerduty_sync.stores.deliveries import DeliveryFilters

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Moment(click.ParamType[datetime]):
    """A time, or how long ago; without a zone, in UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            if ago := re.fullmatch(r"(\d{1,6})([smhdw])", value, re.ASCII):
                return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither a time such as 2026-01-31T12:00Z nor a span such as 90m, 24h, 7d", param, ctx
            )
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


_OPTIONS = (
    click.option("--case", default="", help="Name or id of a Case."),
    click.option("--incident", default="", help="Id of a PagerDuty incident."),
    click.option("--direction", type=choices(Direction), help="inbound: from PagerDuty. outbound: to PagerDuty."),
    click.option("--outcome", type=choices(Outcome)),
    click.option(
        "--reason", type=choices(Reason), metavar="REASON", help="Such as applied, echo, refused, rate_limited."
    ),
    click.option("--since", type=Moment(), metavar="TIME", help="30m, 2h, 7d ago, or a time."),
)


def with_filters(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose deliveries; the command gets them as `filters`."""

    @functools.wraps(command)
    def filtered(
        *args: Any,
        case: str,
        incident: str,
        direction: str | None,
        outcome: str | None,
        reason: str | None,
        since: datetime | None,
        **others: Any,
    ) -> None:
        filters = DeliveryFilters(
            case=case,
            incident_id=incident,
            direction=Direction(direction) if direction else None,
            outcome=Outcome(outcome) if outcome else None,
            reason=Reason(reason) if reason else None,
            since=since,
        )
        command(*args, filters=filters, **others)

    for option in reversed(_OPTIONS):
        filtered = option(filtered)
    return filtered
