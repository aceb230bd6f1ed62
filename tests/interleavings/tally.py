"""What one part of the sequences came to, and parts added up."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from tests.interleavings.checks import FAILED, End, judged
from tests.interleavings.play import Part, Path, played
from tests.pure_world import BrokenPromiseError


@dataclass(frozen=True, slots=True)
class Broken:
    """The sequence that broke a promise."""

    way: str
    path: Path
    error: str


@dataclass(slots=True)
class Tally:
    """`ends` and `sequences` count sequences by the way of keeping up; a world is a sequence in one order of webhooks.

    `written_late` counts the worlds in which something reached an incident that was already resolved, by what it was.
    """

    sequences: Counter[str] = field(default_factory=Counter)
    ends: Counter[tuple[str, End]] = field(default_factory=Counter)
    worlds: int = 0
    written_late: Counter[str] = field(default_factory=Counter)
    broken: Counter[str] = field(default_factory=Counter)
    first_broken: Broken | None = None

    def blame(self, way: str, path: Path, error: Exception) -> None:
        promise = error.promise if isinstance(error, BrokenPromiseError) else FAILED
        self.broken[promise] += 1
        self._keep_shortest(Broken(way, path, str(error) if promise is not FAILED else f"{FAILED}: {error!r}"))

    def join(self, other: Tally) -> None:
        self.sequences += other.sequences
        self.ends += other.ends
        self.worlds += other.worlds
        self.written_late += other.written_late
        self.broken += other.broken
        if other.first_broken is not None:
            self._keep_shortest(other.first_broken)

    def _keep_shortest(self, broken: Broken) -> None:
        """The shortest one, and of those the same one in every run."""
        known = self.first_broken
        if known is None or (len(broken.path), broken.way, broken.path) < (len(known.path), known.way, known.path):
            self.first_broken = broken


def tally_of(part: Part) -> Tally:
    """Play and judge every sequence of one part."""
    tally = Tally()
    for path, world in played(part):
        tally.sequences[part.way] += 1
        if isinstance(world, Exception):
            tally.blame(part.way, path, world)
            continue
        try:
            ended, worlds = judged(path, world)
        except Exception as exc:
            tally.blame(part.way, path, exc)
            continue
        tally.ends[part.way, ended] += 1
        tally.worlds += len(worlds)
        for one in worlds:
            tally.written_late.update(set(one.written_late))
    return tally
