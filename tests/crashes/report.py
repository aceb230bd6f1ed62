"""What a run came to: the table people read, the line programs read, and the story of a Case that went wrong."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.crashes.strikes import KINDS
from tests.e2e.agreement import Disagreement
from tests.e2e.breakable import Breakable
from tests.e2e.lives import Life


@dataclass
class Result:
    """Filled in as the run goes on; what was never reached stays None."""

    seed: int
    cases: int
    faults: Counter[str]
    lives: Sequence[Life] = ()
    writes: int | None = None
    found: Sequence[Disagreement] = ()
    broken_lives: int = 0
    failure: str = ""
    story: str = ""
    wall_seconds: float = 0.0
    seconds_to_agree_after_last_fault: float | None = None
    seconds_to_agree_after_last_word: float | None = None

    @property
    def is_good(self) -> bool:
        return not self.failure and self.seconds_to_agree_after_last_word is not None

    def summary(self) -> dict[str, object]:
        kinds = Counter(one.kind for one in self.found)
        return {
            "cases": self.cases,
            "comments": sum(len(life.comments) for life in self.lives),
            "notes": sum(len(life.notes) for life in self.lives),
            "writes": self.writes,
            "broken_lives": self.broken_lives,
            "divergent_pairs": len({one.life.name for one in self.found if one.kind == "differs" and one.life}),
            "missing_or_doubled": kinds["missing or doubled"],
            "incidents_opened_twice": kinds["opened twice"],
            "reopened_by_us": kinds["re-opened"],
            "work_left_over": kinds["unfinished"],
            "seconds_to_agree_after_last_fault": _rounded(self.seconds_to_agree_after_last_fault),
            "seconds_to_agree_after_last_word": _rounded(self.seconds_to_agree_after_last_word),
            "wall_seconds": _rounded(self.wall_seconds),
        }


def table(result: Result) -> str:
    """Each fault that struck with how often it did, then what came of it all."""
    struck = [(f"  {kind}", result.faults[kind]) for kind in KINDS if result.faults[kind]]
    rows: list[tuple[str, object]] = [("faults struck", result.faults.total()), *struck]
    rows += [(name.replace("_", " "), value) for name, value in result.summary().items()]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {_shown(value):>8}" for name, value in rows)


def last_line(result: Result) -> str:
    """The run as one line of JSON."""
    faults = {kind: result.faults[kind] for kind in KINDS}
    return json.dumps({"seed": result.seed, "good": result.is_good, **result.summary(), "faults": faults})


def story_of(breakable: Breakable, life: Life) -> str:
    """Every attempt that was made for a Case, oldest first."""
    rows = breakable.rows(
        """
        SELECT to_char(at, 'HH24:MI:SS.MS') AS at, direction, operation, attempt, outcome, reason, http_status, detail
        FROM notification_deliveries WHERE case_id = %s ORDER BY at, id""",
        life.case_id or None,
    )
    lines = [f"{life.name} ({life.kind}), Case {life.case_id or 'never made'}, incident {life.incident_id or 'none'}"]
    lines += ["  ".join("-" if value is None else str(value) for value in row.values()) for row in rows]
    return "\n".join(lines)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _shown(value: object) -> str:
    return "never" if value is None else f"{value:,}"
