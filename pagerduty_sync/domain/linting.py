"""What a priority table or a set of directions will not do as one might expect, said before it is saved. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import Field, FieldDirection
from pagerduty_sync.domain.incidents import Priority

Level = Literal["error", "warning"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark. An `error` keeps a table from being saved; a `warning` is for whoever saves it to read."""

    level: Level
    code: str
    field: str
    message: str


def lint(
    table: Mapping[CasePriority, str],
    directions: Mapping[Field, FieldDirection],
    priorities: Sequence[Priority],
) -> list[Finding]:
    """Findings about one connector's settings, the worst first."""
    findings = [*_vanished(table, priorities), *_contradictions(directions)]
    direction = directions.get(Field.PRIORITY, FieldDirection.BOTH)
    if direction in (FieldDirection.BOTH, FieldDirection.OUT):
        findings += _unmapped_out(table)
    if direction in (FieldDirection.BOTH, FieldDirection.IN):
        findings += _unmapped_in(table, priorities)
        findings += _many_to_one(table, priorities)
    return findings


def _vanished(table: Mapping[CasePriority, str], priorities: Sequence[Priority]) -> list[Finding]:
    known = {priority.id for priority in priorities}
    listed = ", ".join(f"{priority.name} = {priority.id}" for priority in priorities) or "none"
    return [
        Finding(
            "error",
            "vanished",
            f"priority_map.{name.value}",
            f"The account has no priority {ascii(id_[:60])[1:-1]}; it has {listed}.",
        )
        for name, id_ in table.items()
        if id_ not in known
    ]


def _unmapped_out(table: Mapping[CasePriority, str]) -> list[Finding]:
    return [
        Finding(
            "warning",
            "unmapped",
            f"priority_map.{name.value}",
            f"{name.value} has no counterpart: an incident keeps its priority when the Case becomes {name.value}.",
        )
        for name in CasePriority
        if name not in table
    ]


def _unmapped_in(table: Mapping[CasePriority, str], priorities: Sequence[Priority]) -> list[Finding]:
    return [
        Finding(
            "warning",
            "unmapped",
            "priority_map",
            f"PagerDuty's {priority.name} ({priority.id}) has no counterpart: a Case keeps its priority when the "
            f"incident becomes {priority.name}.",
        )
        for priority in priorities
        if priority.id not in table.values()
    ]


def _many_to_one(table: Mapping[CasePriority, str], priorities: Sequence[Priority]) -> list[Finding]:
    names = {priority.id: priority.name for priority in priorities}
    findings = []
    for id_ in dict.fromkeys(table.values()):
        sharing = [name.value for name in CasePriority if table.get(name) == id_]
        if len(sharing) > 1:
            findings.append(
                Finding(
                    "warning",
                    "many_to_one",
                    "priority_map",
                    f"{', '.join(sharing)} all stand for PagerDuty's {names.get(id_, id_)}: coming from there a Case "
                    f"keeps the one it has, else becomes {sharing[0]}.",
                )
            )
    return findings


def _contradictions(directions: Mapping[Field, FieldDirection]) -> list[Finding]:
    off = [name.value for name in Field if directions.get(name, FieldDirection.BOTH) is FieldDirection.OFF]
    if len(off) == len(Field):
        text = "Every field is off: an incident is opened, and after that neither side hears of the other."
        return [Finding("warning", "everything_off", "directions", text)]
    return []
