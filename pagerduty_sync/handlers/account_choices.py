"""Which of an account's services and priorities a connector uses, decided from its lists."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import Connector
from pagerduty_sync.domain.incidents import Priority, Service
from pagerduty_sync.errors import InvalidRequestError

NEAR_NAMES = 5


def default_priority_map(priorities: Sequence[Priority]) -> dict[CasePriority, str]:
    """Pairs by name where the account uses ours, else by order of severity; what is left over stays unmapped."""
    by_name = {priority.name.strip().upper(): priority.id for priority in reversed(priorities)}
    named = {each: by_name[each.value] for each in CasePriority if each.value in by_name}
    return named or {each: priority.id for each, priority in zip(CasePriority, priorities, strict=False)}


def chosen_service(services: Sequence[Service], wanted: str) -> Service:
    """The service with this id or name; raises InvalidRequestError that names similar ones."""
    wanted = wanted.strip()
    for matching in (
        [one for one in services if one.id == wanted],
        [one for one in services if one.name == wanted],
        [one for one in services if one.name.casefold() == wanted.casefold()],
    ):
        if len(matching) == 1:
            return matching[0]
        if matching:
            ids = ", ".join(one.id for one in matching)
            raise InvalidRequestError(f"Several services are named {wanted}: {ids}. Give the id.", "service")
    names = {one.name.casefold(): one.name for one in services}
    near = difflib.get_close_matches(wanted.casefold(), names, NEAR_NAMES)
    near = near or [folded for folded in names if wanted and wanted.casefold() in folded][:NEAR_NAMES]
    hint = (
        f"Similar: {', '.join(names[folded] for folded in near)}." if near else f"There are {len(services)} services."
    )
    raise InvalidRequestError(f"The account has no service {ascii(wanted[:80])[1:-1]}. {hint}", "service")


def require_known(table: Mapping[CasePriority, str], priorities: Sequence[Priority]) -> None:
    """Raises InvalidRequestError, with the account's list, for a priority it does not have."""
    unknown = sorted(set(table.values()) - {priority.id for priority in priorities})
    if unknown:
        listed = ", ".join(f"{priority.name} = {priority.id}" for priority in priorities) or "none"
        raise InvalidRequestError(
            f"The account has no priority {ascii(unknown[0][:60])[1:-1]}; it has {listed}.", "priority_map"
        )


def warnings_about(made: Connector, service: Service, priorities: Sequence[Priority]) -> list[str]:
    """What the new connector will not do as one might expect."""
    warnings = []
    if service.status == "disabled":
        warnings.append(f"The service {service.name} is disabled, so PagerDuty opens no incidents on it.")
    without = [each.value for each in CasePriority if each not in made.priority_map]
    unused = [priority.name for priority in priorities if priority.id not in made.priority_map.values()]
    if without:
        warnings.append(f"Case priorities without a counterpart: {', '.join(without)}.")
    if unused:
        warnings.append(f"PagerDuty priorities without a counterpart: {', '.join(unused)}.")
    return warnings
