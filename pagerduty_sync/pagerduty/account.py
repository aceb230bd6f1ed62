"""The calls about an account: its priorities, services, users, abilities and log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from pagerduty_sync.domain.incidents import Priority, Service, User
from pagerduty_sync.domain.reading import NEWEST, LogPlace
from pagerduty_sync.pagerduty.credentials import path_of
from pagerduty_sync.pagerduty.resources import (
    LogEntry,
    parse_ability,
    parse_log_entry,
    parse_priority,
    parse_service,
    parse_user,
)
from pagerduty_sync.pagerduty.transport import MAX_OFFSET, PAGE_SIZE, Params, Transport

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LogPage:
    """Lines of the log, newest first, and where the next ones are; None after the last."""

    lines: Sequence[LogEntry]
    next: LogPlace | None


class AccountCalls(Transport):
    """Every call may raise any PagerDutyError; a docstring names only what is special to it."""

    def list_priorities(self) -> list[Priority]:
        """The account's priorities, most severe first (Incident Priority). ForbiddenError: the plan has none."""
        return list(self._all("/priorities", "priorities", parse_priority))

    def list_services(self, query: str | None = None) -> list[Service]:
        """All services, or those whose name contains `query` (API reference: List services)."""
        return list(self._all("/services", "services", parse_service, [("query", query)] if query else ()))

    def get_service(self, service_id: str) -> Service:
        """One service; IncidentNotFoundError when there is none with this id."""
        return self.get(path_of("services", service_id)).one("service", parse_service)

    def find_user(self, email: str) -> User | None:
        """The user with exactly this login e-mail, whatever its case; None when nobody has it.

        PagerDuty's `query` searches for a part of names and e-mails (API reference: List users).
        """
        wanted = email.strip().casefold()
        if not wanted:
            return None
        users = self._all("/users", "users", parse_user, [("query", email.strip())])
        return next((user for user in users if user.email.casefold() == wanted), None)

    def get_me(self) -> User:
        """The user a user token belongs to. An account's key has none and gets RefusedError: a test for its kind."""
        return self.get("/users/me").one("user", parse_user)

    def list_abilities(self) -> list[str]:
        """What the account's plan can do: the cheapest check of any key (API reference: List abilities)."""
        return self.get("/abilities").many("abilities", parse_ability)

    def get_log_page(self, since: datetime, place: LogPlace = NEWEST) -> LogPage:
        """One page of the account's log since an instant, newest first, and the place of the next (List log entries).

        Where PagerDuty lists no further, the next place is before the oldest line so far; what stood in the same second
        comes again. Raises InvalidRequestError for more lines of one second than can be listed.
        """
        params = [("since", since.isoformat()), ("is_overview", "false")]
        if place.before is not None:
            params.append(("until", place.before.isoformat()))
        answer, offset = self.page("/log_entries", params, place.offset)
        lines = answer.many("log_entries", parse_log_entry)
        if offset is None:
            return LogPage(lines, None)
        if offset + PAGE_SIZE > MAX_OFFSET and lines:
            # Times are whole seconds, and `until` itself is left out.
            before = min(line.created_at for line in lines) + timedelta(seconds=1)
            if place.before is None or before < place.before:
                return LogPage(lines, LogPlace(before))
        return LogPage(lines, LogPlace(place.before, offset))

    def _all(self, path: str, key: str, parse: Callable[[object], T], params: Params = ()) -> Iterator[T]:
        for answer in self.pages(path, params):
            yield from answer.many(key, parse)
