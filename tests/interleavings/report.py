"""A tally as people read it, as programs read it, and one sequence told step by step."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from pagerduty_sync.domain.connectors import Field
from tests.interleavings.checks import PROMISES, TABLE
from tests.interleavings.play import STEPS, WAYS, end, take
from tests.interleavings.tally import Broken, Tally
from tests.pure_world import World


def table(length: int, tally: Tally) -> str:
    """Every end with the number of sequences that came to it, then what was counted on the way."""
    rows = [("Case", "incident", "rule where they differ", *WAYS)]
    for known in TABLE:
        counts = [f"{tally.ends[way, known]:,}" for way in WAYS]
        rows.append((known.case, known.incident, known.rule or "in step", *counts))
    rows.append(("all", "", "", *(f"{tally.sequences[way]:,}" for way in WAYS)))
    return "\n".join([*_aligned(rows), "", *_aligned(_totals(length, tally))])


def _totals(length: int, tally: Tally) -> list[tuple[str, str]]:
    totals = [
        (f"sequences of up to {length} of the {len(STEPS)} steps, a way of keeping up", all_sequences(length)),
        ("sequences in which every step changes something; the others end as one of these", tally.sequences.total()),
        ("worlds: each of them with its webhooks in order, and backwards", tally.worlds),
        ("worlds in which a resolved incident was told again to be resolved", tally.written_late["resolved"]),
        ("worlds in which a resolved incident was given a priority", tally.written_late["priority"]),
        *((f"sequences in which {promise}", tally.broken[promise]) for promise in PROMISES),
    ]
    return [(name, f"{count:,}") for name, count in totals]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as they must be; numbers stand to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            cell.rjust(width) if cell.replace(",", "").isdigit() else cell.ljust(width)
            for cell, width in zip(row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def all_sequences(length: int) -> int:
    """How many sequences of steps there are up to this length, possible or not."""
    return sum(len(STEPS) ** steps for steps in range(length + 1))


def last_line(length: int, seconds: float, cpu_seconds: float, tally: Tally) -> str:
    """The run as one line of JSON."""
    result = {
        "length": length,
        "wall_seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "all_sequences": all_sequences(length),
        "sequences": {way: tally.sequences[way] for way in WAYS},
        "worlds": tally.worlds,
        "ends": [{**known._asdict(), "sequences": {way: tally.ends[way, known] for way in WAYS}} for known in TABLE],
        "worlds_resolved_again": tally.written_late["resolved"],
        "worlds_priority_after_resolve": tally.written_late["priority"],
        "broken": {promise: tally.broken[promise] for promise in PROMISES},
    }
    return json.dumps(result)


# ------------------------------------------------------------------ one sequence


def told(broken: Broken) -> str:
    """The sequence step by step, with both sides after each step and after what the sync made of it."""
    lines = [f"the shortest sequence that breaks a promise, when {broken.way}:"]
    lines += [f"  {what:<32}{state}" for what, state in _states(broken)]
    return "\n".join([*lines, f"✗ {broken.error}"])


def _states(broken: Broken) -> Iterator[tuple[str, str]]:
    world = World()
    yield "at first", _state(world)
    for number, step in enumerate(broken.path, 1):
        take(world, step)
        before = _state(world)
        yield f"{number}. {': '.join(step)}", before
        failed = _fails(WAYS[broken.way], world)
        if failed or _state(world) != before:
            yield "   then the sync", _state(world)
        if failed:
            return
    for order, backwards in (("in order", False), ("backwards", True)):
        last = world.fork()
        _fails(partial(end, backwards=backwards), last)
        yield f"   at the end, webhooks {order}", _state(last)


def _fails(play: Callable[[World], None], world: World) -> bool:
    """Whether this broke off; the world stays as it was left then."""
    try:
        play(world)
    except Exception:
        return True
    return False


def _state(world: World) -> str:
    case, incident, agreed = world.case, world.incident, world.link.agreed(Field.STATUS)
    return (
        f"Case {case.status} {case.priority} · incident {incident.id} {incident.status} {incident.priority_id}"
        f" · link to {world.link.incident_id}, agreed {agreed.case}/{agreed.incident}"
        f" · written {', '.join(world.written) or 'nothing'}"
    )
