"""Cases that live their lives: people act on both sides of many Cases at once, while something else goes wrong.

On the Case's side people use the API, and try again when the service is away. On PagerDuty's side they click in the
simulator's pages, which no fault strikes. Every text is written once, so that one can tell which arrived how often.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import requests

from pagerduty_sync.simulator import seeds
from tests.e2e.breakable import Breakable, Json, until

CASES = "/mgmt/openapi/5/cases"

T = TypeVar("T")

_numbers = itertools.count(1)


class CutShortError(AssertionError):
    """Nobody watches any more."""


@dataclass(frozen=True)
class Pace:
    """How many live at once, how long they think between two steps, and how long they wait for anything."""

    at_once: int = 10
    longest_pause_seconds: float = 0.3
    patience_seconds: float = 120.0


class BrokenLifeError(AssertionError):
    """Something people did was not answered, or what they waited for never came."""

    def __init__(self, life: Life, why: AssertionError) -> None:
        super().__init__(f"{life.kind}, {life.name}: {why}")
        self.life = life


@dataclass
class Life:
    """One Case and what people did to it."""

    breakable: Breakable
    kind: str
    name: str
    chance: random.Random
    pace: Pace = field(default_factory=Pace)
    cut_short: threading.Event = field(default_factory=threading.Event)
    case_id: str = ""
    incident_id: str = ""
    comments: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    resolution: str | None = None
    is_closed_early: bool = False
    is_priority_settled: bool = True
    steps: int = 0
    session: requests.Session = field(default_factory=requests.Session)

    def pause(self) -> None:
        """Between two things people do; nothing depends on how long it takes."""
        self.steps += 1
        time.sleep(self.chance.uniform(0, self.pace.longest_pause_seconds))

    def until(self, is_so: Callable[[], T | None], what: str) -> T:
        """Wait as long as this person's patience lasts; raises NotSoError, CutShortError."""

        def asked() -> T | None:
            if self.cut_short.is_set():
                raise CutShortError
            return is_so()

        return until(asked, what, self.pace.patience_seconds)

    def text(self, what: str) -> str:
        return f"({self.name}: {what})"

    # ------------------------------------------------------------ on the Case

    def create(self, priority: str = "P3") -> None:
        body = {"title": self.name, "priority": priority, "labels": {"team": ["payments"]}}
        self.case_id = str(self._ask("POST", "/api/v1/cases", body, self._case_made_before)["id"])
        self.pause()

    def comment(self, what: str) -> None:
        text = self.text(what)
        self.comments.append(text)
        path = f"{CASES}/cases/v1/{self.case_id}/comments"
        self._ask("POST", path, {"text": text}, lambda: {} if text in self.comments_shown() else None)
        self.pause()

    def acknowledge(self) -> None:
        self._ask("PUT", f"{CASES}/acknowledged/v1/{self.case_id}", {})
        self.pause()

    def prioritise(self, priority: str) -> None:
        path = f"{CASES}/priority-override/v1/{self.case_id}"
        self._ask("PUT", path, {"priority": f"CASE_PRIORITY_{priority}"})
        self.pause()

    def resolve(self, what: str) -> None:
        self.resolution = self.text(what)
        self._ask("PUT", f"{CASES}/resolved/v1/{self.case_id}", {"reason": self.resolution})
        self.pause()

    def close(self) -> None:
        self._ask("POST", f"{CASES}/closed/v1/{self.case_id}", {})
        self.pause()

    def case(self) -> Json:
        return self._ask("GET", f"/api/v1/cases/{self.case_id}")

    def comments_shown(self) -> list[str]:
        events = self._ask("GET", f"{CASES}/cases/v1/{self.case_id}/events")["events"]
        return [event["eventData"]["comment"]["unsafeText"] for event in events if "comment" in event["eventData"]]

    def _case_made_before(self) -> Json | None:
        found = self.breakable.rows("SELECT id::text AS id FROM cases WHERE title = %s", self.name)
        return found[0] if found else None

    def _ask(
        self, method: str, path: str, body: object = None, done_before: Callable[[], Json | None] = lambda: None
    ) -> Json:
        """Ask the service, again while it is away. A request whose answer was lost may have been carried out."""
        tries = 0

        def ask() -> Json | None:
            nonlocal tries
            tries += 1
            if tries > 1 and (found := done_before()) is not None:
                return {"done": True, **found}
            reply = self.session.request(
                method,
                self.breakable.installation.web_url + path,
                json=body,
                headers={"Authorization": f"Bearer {self.breakable.installation.admin_token}"},
                timeout=15,
            )
            # Whatever is away, that is no surprise to the service: it says 503 and nothing else.
            assert reply.status_code == 503 or reply.status_code < 500, f"{method} {path}: {reply.text[:300]}"
            if reply.status_code == 503:
                return None
            was_done = tries > 1 and reply.status_code in (400, 409)
            assert reply.ok or was_done or self._is_race(reply), f"{method} {path}: {reply.text[:300]}"
            return {"answer": reply.status_code, **reply.json()}

        return self.until(ask, f"{method} {path} is answered")

    def _is_race(self, reply: requests.Response) -> bool:
        """Where both sides act at once, the other one may have been faster."""
        return self.kind == "both_at_once" and reply.status_code == 400

    # ------------------------------------------------------------ in PagerDuty

    def wait_for_incident(self) -> None:
        def opened() -> str:
            return str((self.case()["pagerduty"] or {}).get("incident_id") or "")

        self.incident_id = self.until(opened, f"{self.name} has its incident")
        self.steps += 1

    def click(self, button: str, **form: str) -> None:
        """As Ada; what PagerDuty refuses at this moment she leaves be."""
        url = f"{self.breakable.installation.simulator_url}/ui/incidents/{self.incident_id}/{button}"
        # On a connection of its own: a click must not be lost with one that was idle too long.
        reply = requests.post(url, data=form, allow_redirects=False, timeout=15)
        assert reply.status_code == 303, f"{button}: {reply.status_code} {reply.text[:300]}"
        self.pause()

    def note(self, what: str) -> None:
        self.notes.append(self.text(what))
        self.click("notes", content=self.notes[-1])

    def click_priority(self, name: str) -> None:
        self.click("priority", priority=seeds.PRIORITY_IDS[name])

    def click_resolve(self, what: str) -> None:
        self.resolution = self.text(what)
        self.click("resolve", resolution=self.resolution)

    # ------------------------------------------------------------ waiting for the other side

    def wait_for_case(self, **wanted: str) -> None:
        def is_so() -> bool:
            case = self.case()
            return all(case[name] == value for name, value in wanted.items())

        self.until(is_so, f"{self.name} is {wanted}")
        self.steps += 1

    def wait_for_incident_priority(self, name: str) -> None:
        def is_so() -> bool:
            found = self.breakable.simulator("GET", f"/_sim/state?incident={self.incident_id}")["incidents"]
            return bool(found and (found[0]["priority"] or {}).get("summary") == name)

        self.until(is_so, f"the incident of {self.name} is {name}")
        self.steps += 1


# ------------------------------------------------------------ the stories


def led_by_pagerduty(life: Life) -> None:
    life.create()
    life.comment("written before the incident is there")
    life.wait_for_incident()
    life.click("acknowledge")
    life.note("on it")
    life.click_priority("P1")
    life.comment("seen on the dashboards")
    life.wait_for_case(priority="P1")
    life.note("rolling back")
    life.click_resolve("rolled back release 412")
    life.wait_for_case(status="RESOLVED")
    life.comment("written after the end")
    life.close()


def led_by_the_case(life: Life) -> None:
    life.create("P4")
    life.wait_for_incident()
    life.acknowledge()
    life.comment("looking")
    life.note("me too")
    life.prioritise("P2")
    life.comment("found it")
    life.wait_for_incident_priority("P2")
    life.resolve("consumer restarted")
    life.note("thanks")
    life.comment("you are welcome")


def closed_early(life: Life) -> None:
    life.create("P5")
    life.wait_for_incident()
    life.comment("duplicate of another one")
    life.note("are you sure?")
    life.is_closed_early = True
    life.close()
    life.click("acknowledge")
    life.note("cleaning up all the same")
    life.click("resolve")


def both_at_once(life: Life) -> None:
    """Nobody waits for the other side, so either may win; that both agree is what counts."""
    life.is_priority_settled = False
    life.create("P2")
    life.wait_for_incident()
    life.click("acknowledge")
    life.acknowledge()
    life.note("first")
    life.comment("first comment")
    life.click_priority("P3")
    life.prioritise("P1")
    life.comment("second comment")
    life.note("second")
    life.click("resolve")
    life.resolve("gone by itself")
    life.resolution = None


STORIES = (led_by_pagerduty, led_by_the_case, closed_early, both_at_once)
STEPS_OF_A_LIFE = 11


@dataclass
class Lives:
    """Many lives, lived by a few threads."""

    lives: list[Life]
    futures: list[Future[None]]

    def wait_for_share(self, share: float, seconds: float = 180.0) -> None:
        """Wait until this much of everything has been lived, so that what is done next comes in the middle."""
        until(lambda: self.share() >= share or self.are_over(), f"{share:.0%} is lived", seconds)

    def share(self) -> float:
        return sum(life.steps for life in self.lives) / (STEPS_OF_A_LIFE * len(self.lives))

    def are_over(self) -> bool:
        return self.count_over() == len(self.futures)

    def count_over(self) -> int:
        return sum(future.done() for future in self.futures)


@contextmanager
def living(
    breakable: Breakable, count: int, seed: int = 1, stories: tuple[Any, ...] = STORIES, pace: Pace | None = None
) -> Iterator[Lives]:
    """Let so many Cases live while the block runs; at its end wait until all have. Raises BrokenLifeError.

    The seed decides the pauses between steps, not what is done.
    """
    cut_short, pace = threading.Event(), pace or Pace()
    lives = []
    for number, story in zip(range(count), itertools.cycle(stories), strict=False):
        chance = random.Random(seed * 1_000 + number)
        name = f"life {next(_numbers)}"
        lives.append(Life(breakable, story.__name__, name, chance, pace, cut_short))
    with ThreadPoolExecutor(pace.at_once) as pool:
        stories_of = {story.__name__: story for story in stories}
        futures = [pool.submit(stories_of[life.kind], life) for life in lives]
        try:
            yield Lives(lives, futures)
        except BaseException:
            cut_short.set()
            raise
        for life, future in zip(lives, futures, strict=True):
            try:
                future.result()
            except AssertionError as exc:
                raise BrokenLifeError(life, exc) from exc


def open_only(life: Life) -> None:
    life.create()
    life.wait_for_incident()
