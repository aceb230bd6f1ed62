"""What a run came to: counters, the table people read and the line programs read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.histories.checks import KINDS
from tests.histories.play import Played

SHOWN_SEEDS = 10
FAULTS = (
    "webhooks lost",
    "webhooks twice",
    "webhooks late",
    "nudges lost",
    "calls failed",
    "workers died",
    "workers overtaken",
    "redis emptied",
    "subscription disabled",
)


@dataclass(slots=True)
class Tally:
    """The histories of one keeper, added up."""

    histories: int = 0
    failed: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    never_agreed: int = 0
    writes: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    failing_seeds: list[int] = field(default_factory=list)

    def add(self, played: Played) -> None:
        self.histories += 1
        self.writes += played.writes
        self.faults.update(played.faults)
        self.problems.update(problem.kind for problem in played.problems)
        if played.problems:
            self.failed += 1
            self.failing_seeds.append(played.seed)
        if played.seconds_to_agree is None:
            self.never_agreed += 1
        else:
            self.seconds.append(played.seconds_to_agree)

    def join(self, other: Tally) -> None:
        self.histories += other.histories
        self.failed += other.failed
        self.problems.update(other.problems)
        self.seconds += other.seconds
        self.never_agreed += other.never_agreed
        self.writes += other.writes
        self.faults.update(other.faults)
        self.failing_seeds += other.failing_seeds

    def percentile(self, share: float) -> float | None:
        """Simulated seconds within which this share of all histories agreed; None when it did not."""
        ordered = sorted(self.seconds)
        at = int(share * (self.histories - 1)) if self.histories else 0
        return ordered[at] if at < len(ordered) else None

    def summary(self) -> dict[str, Any]:
        return {
            "histories": self.histories,
            "failed": self.failed,
            **{kind.replace(" ", "_").replace("-", "_"): self.problems[kind] for kind in KINDS},
            "never_agreed": self.never_agreed,
            "seconds_to_agree_p50": _rounded(self.percentile(0.5)),
            "seconds_to_agree_p99": _rounded(self.percentile(0.99)),
            "writes": self.writes,
            **{name.replace(" ", "_"): self.faults[name] for name in FAULTS},
        }


def table(sync: Tally, baseline: Tally | None) -> str:
    """Both tallies side by side."""
    rows = [("", "sync", "baseline")]
    ours, theirs = sync.summary(), baseline.summary() if baseline else {}
    for name, value in ours.items():
        rows.append((name.replace("_", " "), _shown(value), _shown(theirs.get(name)) if baseline else "not run"))
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}" for row in rows]
    lines.insert(1, "-" * (sum(widths) + 4))
    return "\n".join(lines)


def last_line(seed: int, seconds: float, sync: Tally, baseline: Tally | None) -> str:
    """The run as one line of JSON."""
    result = {
        "seed": seed,
        "count": sync.histories,
        "wall_seconds": round(seconds, 1),
        "histories_per_second": round(sync.histories / seconds, 1) if seconds else None,
        "failing_seeds": sorted(sync.failing_seeds)[:SHOWN_SEEDS],
        "sync": sync.summary(),
        "baseline": baseline.summary() if baseline else None,
    }
    return json.dumps(result)


def story_text(played: Played, steps: Sequence[object]) -> str:
    """A story as a person reads it: what happened, and what was not kept."""
    lines = [f"seed {played.seed}, {len(steps)} steps"]
    lines += played.lines
    lines += [f"✗ {problem.kind}: {problem.text}" for problem in played.problems]
    return "\n".join(lines)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _shown(value: Any) -> str:
    return "never" if value is None else f"{value:,}"
