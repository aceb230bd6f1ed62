"""Which observation of the incident counts, and which side has moved. Pure; knows no field's meaning.

Webhooks carry milliseconds, REST replies whole seconds of the same clock. Within one second neither can be put before
the other: a difference there is a doubt, and a doubt is settled by reading again, never by guessing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import Enum, auto

from pagerduty_sync.domain.links import Agreement, Seen

REPLICA_LAG = timedelta(seconds=60)
"""A reply this much younger than what is known is believed even when `updated_at` did not move with the field."""


class Observed(Enum):
    """What became of an observation."""

    NEW = auto()
    SAME = auto()
    STALE = auto()
    DOUBT = auto()


@dataclass(frozen=True, slots=True)
class Observation:
    """What was accepted, and how it compared."""

    seen: Seen
    observed: Observed


def observe(known: Seen | None, new: Seen, read_at: datetime | None = None) -> Observation:
    """Fold `new` into what is known. An older observation never overwrites a newer one; at equal times a read wins.

    `read_at` is the `Date` of a REST reply, for fields whose change did not move `updated_at`.
    Folding a set of webhooks gives the same result in every order and with any repetition.
    """
    if known is None:
        return Observation(new, Observed.NEW)
    changed_at = max(known.changed_at, new.changed_at)
    if _is_doubtful(known, new):
        return Observation(known, Observed.DOUBT)
    if not _is_later(known, new, read_at):
        return Observation(replace(known, changed_at=changed_at), _same(known, new) or Observed.STALE)
    return Observation(replace(new, changed_at=changed_at), _same(known, new) or Observed.NEW)


def _same(known: Seen, new: Seen) -> Observed | None:
    return Observed.SAME if known.value == new.value else None


def _is_doubtful(known: Seen, new: Seen) -> bool:
    """A webhook of the very second of a read that showed something else: before it or after it?"""
    return known.is_read and not new.is_read and known.value != new.value and _second(new.at) == _second(known.at)


def _is_later(known: Seen, new: Seen, read_at: datetime | None) -> bool:
    if new.is_read:
        if _second(new.at) >= _second(known.at):
            return True
        return read_at is not None and read_at - known.at > REPLICA_LAG
    if known.is_read:
        return _second(new.at) > known.at
    # Two webhooks of the same instant: any rule will do as long as the order of arrival does not matter.
    return (new.at, new.value or "") > (known.at, known.value or "")


def _second(at: datetime) -> datetime:
    return at.replace(microsecond=0)


class Moved(Enum):
    """Which sides differ from their own half of the agreement."""

    NEITHER = auto()
    CASE = auto()
    INCIDENT = auto()
    BOTH = auto()


def moved(agreed: Agreement, case: str | None, incident: str | None) -> Moved:
    """Compare each side with its own half: the three-way look every plan starts with."""
    match (case != agreed.case, incident != agreed.incident):
        case (False, False):
            return Moved.NEITHER
        case (True, False):
            return Moved.CASE
        case (False, True):
            return Moved.INCIDENT
        case _:
            return Moved.BOTH
