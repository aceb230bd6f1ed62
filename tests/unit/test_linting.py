"""What the linter says of a priority table and of directions, one row a rule."""

from __future__ import annotations

import pytest

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import Field, FieldDirection
from pagerduty_sync.domain.incidents import Priority
from pagerduty_sync.domain.linting import lint

ACCOUNT = [Priority(f"ID{number}", f"Sev {number}") for number in range(1, 6)]
COMPLETE = {name: f"ID{number}" for number, name in enumerate(CasePriority, start=1)}


@pytest.mark.parametrize(
    ("changes", "directions", "expected"),
    [
        ({}, {}, []),
        ({"P5": None}, {}, [("warning", "unmapped", "priority_map.P5"), ("warning", "unmapped", "priority_map")]),
        ({"P5": None}, {"priority": "out"}, [("warning", "unmapped", "priority_map.P5")]),
        ({"P5": None}, {"priority": "in"}, [("warning", "unmapped", "priority_map")]),
        ({"P5": None}, {"priority": "off"}, []),
        ({"P5": "ID4"}, {}, [("warning", "unmapped", "priority_map"), ("warning", "many_to_one", "priority_map")]),
        ({"P5": "ID4"}, {"priority": "out"}, []),
        (
            {"P5": "GONE"},
            {"priority": "off"},
            [("error", "vanished", "priority_map.P5")],
        ),
        (
            {},
            dict.fromkeys(("status", "comments", "resolution_notes", "priority"), "off"),
            [("warning", "everything_off", "directions")],
        ),
    ],
    ids=[
        "a complete table",
        "one left out, both ways",
        "one left out, out only",
        "one left out, in only",
        "one left out, priorities off",
        "two share one, both ways",
        "two share one, out only",
        "an id the account has no more",
        "everything off",
    ],
)
def test_a_table_is_judged_by_the_directions_it_is_used_in(
    changes: dict[str, str | None], directions: dict[str, str], expected: list[tuple[str, str, str]]
) -> None:
    table = {name: changes.get(name.value, id_) for name, id_ in COMPLETE.items()}
    kept = {name: id_ for name, id_ in table.items() if id_ is not None}
    chosen = {Field(name): FieldDirection(value) for name, value in directions.items()}
    found = lint(kept, chosen, ACCOUNT)
    assert [(each.level, each.code, each.field) for each in found] == expected
    assert all(each.message.endswith(".") for each in found)


def test_without_priorities_every_id_has_vanished() -> None:
    assert {each.code for each in lint({CasePriority.P1: "ID1"}, {Field.PRIORITY: FieldDirection.OFF}, [])} == {
        "vanished"
    }
