"""A world for one history after another: both sides, the network between them, time, and the loop that moves it all.

Everything happens in one thread and at simulated times. Whoever keeps the two sides in step is a `Workers`: the real
sync, or the plain baseline it is compared with.
"""

from __future__ import annotations

import heapq
import itertools
import json
import logging
import random
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from unittest import mock

import requests
import structlog

from pagerduty_sync.domain.cases import CasePriority
from pagerduty_sync.domain.connectors import Destination, IntegrationStatus
from pagerduty_sync.domain.incidents import Priority
from pagerduty_sync.errors import SyncError
from pagerduty_sync.pagerduty.schemas import SUBSCRIBED_EVENT_TYPES
from pagerduty_sync.pagerduty.subscriptions import SubscriptionFilter
from pagerduty_sync.simulator import seeds
from pagerduty_sync.simulator.app import create_app as create_simulator
from pagerduty_sync.simulator.clock import Clock
from pagerduty_sync.simulator.faults import Rule
from pagerduty_sync.simulator.model import Event, Webhook
from pagerduty_sync.stores.database import migrate
from pagerduty_sync.stores.integrations import Account
from pagerduty_sync.stores.secrets import generate_key
from tests.histories.actions import Step
from tests.histories.faults import HOUR, Fates, Rates, WorkerDied
from tests.histories.journal import Happened, Journal, Pair, Write
from tests.histories.people import JANE, SERVICES, People
from tests.histories.wiring import (
    CALL_SECONDS,
    CLOCK_SQL,
    JOB_SECONDS,
    PAGERDUTY_URL,
    START,
    SYNC_URL,
    ClockedApplication,
    ClockedDatabase,
    Line,
    Post,
    Wire,
    instant,
    new_clock,
    response_of,
    seeded_uuid,
    serve,
    settings_for,
)

SWEEP_SECONDS = 5.0
MOST_EVENTS = 3_000
MOST_FAILURES = 5
RECONCILED_AT_LEAST_EVERY = 24 * HOUR
TRIED_FOR = 48 * HOUR

# What an operator has configured stays from history to history; everything else is cleared.
CONFIGURED = (
    "schema_migrations",
    "integrations",
    "webhook_subscriptions",
    "connectors",
    "presets",
    "routing_rules",
    "rule_destinations",
)
TABLES_SQL = """
SELECT relname AS name FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
  AND relname <> ALL(%s) AND relname NOT LIKE 'histories%%'
ORDER BY relname
"""
COLUMNS_SQL = """
SELECT string_agg(quote_ident(column_name), ', ') AS names FROM information_schema.columns
WHERE table_schema = 'public' AND table_name = 'integrations' AND is_generated = 'NEVER'
"""
CLEARED_BETWEEN_TRUNCATES = 20
_NO_RATES = Rates()

WAKE_SQL = """
SELECT extract(epoch FROM min(at)) AS at FROM (
    SELECT min(due_at) AS at FROM links WHERE lease_until IS NULL
    UNION ALL SELECT min(lease_until) FROM links WHERE lease_token IS NOT NULL
    UNION ALL SELECT min(greatest(dirty_at, lease_until)) + interval '3 seconds' FROM links WHERE dirty_at IS NOT NULL
    UNION ALL SELECT min(received_at) + interval '3 seconds' FROM inbox WHERE state = 'received'
    UNION ALL SELECT min(occurred_at) + interval '3 seconds' FROM case_events WHERE handled_at IS NULL
) AS waiting
"""


class StuckError(Exception):
    """The same job fails again and again; there is nothing more to learn from this history."""


class Workers(Protocol):
    """What keeps both sides in step."""

    name: str

    def run(self, job: str, payload: Any) -> None:
        """Carry out one nudge."""
        ...

    def accept(self, body: bytes) -> None:
        """A webhook has passed the web app; only for workers that have no inbox."""
        ...

    def case_changed(self, case_id: str) -> None:
        """A person has changed a Case."""
        ...

    def reconcile(self) -> None: ...

    def watch(self) -> None: ...

    def wakes_at(self) -> float | None:
        """When the sweep will next find something; None when nothing waits."""
        ...

    def clear(self) -> None:
        """A new history begins."""
        ...

    def pairs(self) -> Mapping[str, Pair]:
        """By Case id, the incident it is in step with now."""
        ...


class World:
    """Both sides and everything between them; made once a process, cleared between histories."""

    def __init__(self, database_url: str) -> None:
        self.clock: Clock = new_clock()
        _prepare(database_url)
        self._build_simulator()
        self._build_application(database_url)
        self._histories = 0
        self.workers: Workers
        self.begin(Fates(0, _NO_RATES), "checkout")

    def _build_simulator(self) -> None:
        with (
            mock.patch("pagerduty_sync.simulator.simulator.Dispatcher", Wire),
            mock.patch("pagerduty_sync.simulator.simulator.Clock", lambda: self.clock),
        ):
            self.pagerduty = create_simulator(public_base=PAGERDUTY_URL, start=False)
        self.simulator = self.pagerduty.extensions["simulator"]
        wire = self.simulator.dispatcher
        assert isinstance(wire, Wire)
        self.wire = wire
        self.wire.send = self._send
        self.wire.heard = self._heard
        self.line = Line(self._carry)

    def _build_application(self, database_url: str) -> None:
        from web.app import create_app

        with mock.patch("pagerduty_sync.wiring.stores.Database", ClockedDatabase):
            self.application = ClockedApplication(settings_for(database_url, generate_key()))
        this = self.application
        this.clock, this.line = self.clock, self.line
        this.clocked.clock = self.clock
        this.visits.now = this.leases.now = lambda: instant(self.clock.now())
        self.journal = Journal()
        self.fates = Fates(0, _NO_RATES)
        self._reset_time()
        self.case_ids: list[str] = []
        self._connect()
        self._plan_clearing()
        self.web = create_app(this)
        self.web.extensions["group_committer"] = _Committer(self)
        self.post = Post(self.web)
        this.clocked.point = self.point

    def _connect(self) -> None:
        """The configuration an operator would make, straight into the stores."""
        this = self.application
        priorities = [Priority(id_, name) for name, id_ in seeds.PRIORITY_IDS.items()]
        account = Account(
            "PagerDuty", PAGERDUTY_URL, seeds.FULL_KEY, "account", seeds.BOT_EMAIL, seeds.BOT_ID, priorities
        )
        integration = this.integrations.create(account, is_two_way=True)
        self.integration_id = integration.id
        self._subscribe()
        this.integrations.set_status(integration.id, IntegrationStatus.CONNECTED)
        preset = this.routing.ensure_builtin_presets()[0]
        for name, service_id in SERVICES.items():
            connector = this.connectors.create_bidirectional(
                name,
                integration.id,
                service_id,
                name,
                priority_map={CasePriority(level): id_ for level, id_ in seeds.PRIORITY_IDS.items()},
            )
            rule = f'"{name}" in case.title'
            this.routing.create_rule(name, "cases", rule, [Destination(connector.id, preset.id)])

    def _plan_clearing(self) -> None:
        """The statements that bring the database back to what is configured, whatever tables there are by now."""
        with self.application.database.transaction() as connection:
            tables = [row["name"] for row in connection.execute(TABLES_SQL, (list(CONFIGURED),))]
            row = connection.execute(COLUMNS_SQL).fetchone()
            connection.execute("CREATE TABLE histories_integrations AS SELECT * FROM integrations")
        assert row is not None
        deletes = "".join(f"DELETE FROM {name};" for name in tables)
        self._truncate_sql = f"TRUNCATE {', '.join(tables)}".encode()
        self._clear_sql = f"""
            SET session_replication_role = replica; {deletes} SET session_replication_role = DEFAULT;
            SELECT setval('histories_ids', 1000000), setval('case_numbers', 1, false);
            UPDATE integrations SET ({row["names"]}) = (SELECT {row["names"]} FROM histories_integrations);
            """.encode()

    def _subscribe(self) -> None:
        this = self.application
        made = this.client(self.integration_id).create_webhook_subscription(
            f"{SYNC_URL}/webhooks/pagerduty/{self.integration_id}",
            "pagerduty-sync",
            SubscriptionFilter.account(),
            sorted(SUBSCRIBED_EVENT_TYPES),
        )
        this.subscriptions.add(self.integration_id, made.id, made.secret)

    # ------------------------------------------------------------ one history

    def _reset_time(self) -> None:
        self.clock.offset = START
        self.is_working = False
        self._is_dead = False
        self._in_point = False
        self._events: list[tuple[float, int, str, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._lanes: dict[str, float] = {}
        self._webhooks = itertools.count(1)
        self._nudges = itertools.count(1)
        self._http_faults: list[list[Any]] = []
        self._armed: list[list[Any]] = []
        self._last_call = ""
        self._unheard: set[tuple[str, str]] = set()
        self._written: list[tuple[str, str]] = []
        self._is_stalled = False
        self._swept_at = self._reconciled_at = START
        self.happened = 0
        self._wakes: tuple[int, float | None] = (-1, None)
        self._work_began = START

    def begin(self, fates: Fates, service: str) -> None:
        """Clear both sides for a new history."""
        self._reset_time()
        self.fates, self.service, self.journal = fates, service, Journal()
        self.case_ids = []
        self.people = People(self)
        run = self.application.clocked.run
        if self._histories % CLEARED_BETWEEN_TRUNCATES == 0:
            run(self._truncate_sql)
        run(self._clear_sql)
        self._histories += 1
        self.simulator.reset(keep_subscriptions=True)
        self.application.restart()
        if hasattr(self, "workers"):
            self.workers.clear()

    @contextmanager
    def same_dice(self, seed: int) -> Iterator[None]:
        """Ids and chances come from the seed, so that a story is the same story each time."""
        dice = random.Random(f"ids:{seed}")
        random.seed(f"chances:{seed}")
        with (
            mock.patch("uuid.uuid4", seeded_uuid(dice)),
            mock.patch("secrets.token_bytes", lambda count=32: dice.randbytes(count)),
        ):
            yield

    # ------------------------------------------------------------ time

    def at(self, when: float, what: str, do: Callable[[], None]) -> None:
        """Do this at that time."""
        heapq.heappush(self._events, (when, next(self._sequence), what, do))

    def wait(self, seconds: float) -> None:
        """Let so much time pass, with everything that happens on its own meanwhile."""
        until = self.clock.now() + seconds
        for _ in range(MOST_EVENTS):
            if not self._happen(until):
                break
        else:
            raise StuckError("the world does not come to rest")
        self._move_to(until)
        if until - self._reconciled_at > RECONCILED_AT_LEAST_EVERY and not self.fates.is_over:
            # The clock would have done it many times; this often it belongs to the world and not to the story.
            self._reconciled_at = until
            self.workers.reconcile()

    def disarm(self) -> None:
        """No step that waits for its moment strikes any more."""
        self._armed.clear()
        self._http_faults.clear()

    def settle(self, limit_seconds: float) -> None:
        """Let time pass until nothing is under way any more, at most so long."""
        until = self.clock.now() + limit_seconds
        for _ in range(MOST_EVENTS):
            if not self._happen(until):
                return
        raise StuckError("the world does not come to rest")

    def _happen(self, until: float) -> bool:
        """The next thing that happens by itself; False when there is none before `until`."""
        first = self._events[0][0] if self._events else None
        timer = self.simulator.incidents.next_due()
        # As long as something happens soon anyway, the sweep has no reason to look.
        sweep = self._next_sweep() if first is None or first > self.clock.now() + SWEEP_SECONDS else None
        times = [(when, kind) for when, kind in ((first, 0), (timer, 1), (sweep, 2)) if when is not None]
        if not times or min(times)[0] > until:
            return False
        when, kind = min(times)
        self.happened += 1
        self._move_to(when)
        if kind == 1:
            # Its time may have come while somebody was at work.
            self.simulator.advance(0.0)
        if kind == 0:
            _, _, _, do = heapq.heappop(self._events)
            do()
        elif kind == 2:
            self._swept_at = self.clock.now()
            self.work("sweep", None)
        return True

    def _next_sweep(self) -> float | None:
        if self._wakes[0] != self.happened:
            self._wakes = (self.happened, self.workers.wakes_at())
        wakes = self._wakes[1]
        if wakes is None:
            return None
        wakes = max(wakes, self._swept_at + SWEEP_SECONDS)
        return float(-(-(wakes - START) // SWEEP_SECONDS) * SWEEP_SECONDS + START)

    def _move_to(self, when: float) -> None:
        ahead = when - self.clock.now()
        if ahead > 0:
            self.simulator.advance(ahead)

    # ------------------------------------------------------------ workers

    def nudge(self, job: str, payload: Any, delay: float = 0.0) -> None:
        """A message to a worker; the broker may lose it or deliver it twice."""
        name = f"nudge {next(self._nudges)}"
        if self.fates.strikes(self.fates.rates.nudge_lost, f"{name} lost"):
            self.journal.faults["nudges lost"] += 1
            return
        dice = self.fates.dice(name)
        times = 2 if self.fates.strikes(self.fates.rates.nudge_twice, f"{name} twice") else 1
        for _ in range(times):
            when = self.clock.now() + delay + dice.uniform(0.005, 0.15)
            self.at(when, "nudge", lambda: self.work(job, payload))

    def work(self, job: str, payload: Any) -> None:
        """One job of one worker, which may die on the way."""
        self.happened += 1
        outer = (self.is_working, self._is_dead, self._is_stalled, self._last_call, self._work_began, self._written)
        self.is_working, self._is_dead, self._is_stalled = True, False, False
        self._last_call, self._work_began, self._written = "", self.clock.now(), []
        self.clock.advance(JOB_SECONDS)
        try:
            self.workers.run(job, payload)
        except WorkerDied:
            self.journal.faults["workers died"] += 1
            self._unheard.update(self._written)
            self.application.restart()
        except SyncError as exc:
            self.tell(f"  job {job} failed: {exc}")
        except (RuntimeError, AssertionError, LookupError, TypeError, ValueError, NameError) as exc:
            where = traceback.extract_tb(exc.__traceback__)[-1]
            failure = f"job {job}: {type(exc).__name__}: {exc} ({Path(where.filename).name}:{where.lineno})"
            self.journal.failures.append(failure)
            if len(self.journal.failures) >= MOST_FAILURES:
                raise StuckError(failure) from exc
            self.tell(f"  {failure}")
        finally:
            self.is_working, self._is_dead, self._is_stalled, self._last_call, self._work_began, self._written = outer

    def point(self, name: str) -> None:
        """A worker is between two statements: here it may die, or the world may turn on."""
        if self._in_point:
            return
        if self._is_dead:
            raise WorkerDied
        if not self.is_working or not self._armed:
            return
        armed = self._armed[0]
        armed[0] -= 1
        if armed[0] > 0 or (armed[1].inner and self._must_not_come_between(armed[1].inner, name)):
            return
        self._armed.pop(0)
        step: Step = armed[1]
        self.tell(f"  {step} ({name})")
        if step.inner is not None:
            self.journal.faults["workers overtaken"] += 1
        if step.inner is None:
            self._is_dead = True
            raise WorkerDied
        self._in_point = True
        try:
            self._meanwhile(step.inner)
        finally:
            self._in_point = False

    def _must_not_come_between(self, inner: Step, name: str) -> bool:
        """What no client of PagerDuty's can help, for there is no conditional write: a person who acts between our
        fresh read and the write that follows it at once, and a call that sets out and stands still on its way."""
        if inner.what == "the stall" and name.startswith("before P"):
            return True
        return inner.what.startswith(("incident", "other", "the stall")) and self._last_call.startswith("GET")

    def _meanwhile(self, inner: Step) -> None:
        if inner.what == "the webhooks":
            under_way = sorted(event for event in self._events if event[2] == "webhook")
            self._events = [event for event in self._events if event[2] != "webhook"]
            heapq.heapify(self._events)
            for _, _, _, do in under_way:
                do()
        elif inner.what == "the worker":
            self._let_others_work(2)
        elif inner.what == "the stall":
            # Long enough for the lease to end; what this worker does is nobody's business any more.
            self._unheard.update(self._written)
            self._is_stalled = True
            self.simulator.advance(75.0)
            self.work("sweep", None)
            self._let_others_work(6)
        else:
            self.perform(inner)

    def _let_others_work(self, jobs: int) -> None:
        for _ in range(jobs):
            nudges = sorted(event for event in self._events if event[2] == "nudge")
            if not nudges:
                return
            self._events.remove(nudges[0])
            heapq.heapify(self._events)
            nudges[0][3]()

    # ------------------------------------------------------------ our calls to PagerDuty

    def _carry(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> requests.Response:
        path = url.removeprefix(PAGERDUTY_URL).partition("?")[0]
        self.point(f"before {method} {path}")
        fault = self._next_fault()
        if fault:
            self.journal.faults["calls failed"] += 1
            self.tell(f"  {method} {path} meets {fault}")
        if fault == "refused_connection":
            raise requests.exceptions.ConnectTimeout("never connected")
        if fault == "timeout":
            self.clock.advance(10.0)
            raise requests.exceptions.ReadTimeout("no answer, and nothing was done")
        if fault and fault[0] in "45":
            self._arm_simulator(fault)
        is_write = method != "GET" and path.startswith("/incidents")
        before = self._look_all(path, body) if is_write else {}
        linked = self._cases_linked_to(before) if is_write else {}
        status, response_headers, content = serve(self.pagerduty, method, url, headers, body)
        self.clock.advance(CALL_SECONDS)
        self._last_call = f"{method} {path}"
        if is_write and status < 300:
            self._note_writes(method, path, before, body, linked, is_lost=fault == "lost_reply")
        self.point(f"after {method} {path}")
        if fault == "lost_reply":
            raise requests.exceptions.ReadTimeout("done, but the answer was lost")
        return response_of(status, response_headers, content, self.clock.now())

    def _next_fault(self) -> str:
        if not self._http_faults or self.fates.is_over or not self.is_working:
            return ""
        self._http_faults[0][0] -= 1
        return str(self._http_faults.pop(0)[1]) if self._http_faults[0][0] < 0 else ""

    def _arm_simulator(self, fault: str) -> None:
        knobs = self.simulator.faults.knobs
        if fault.startswith("429"):
            told = fault == "429"
            knobs.rate_limit = Rule(next=1, options={"headers": told, "body": told})
        else:
            knobs.fail_before = Rule(next=1, options={"status": int(fault), "how": "html"})

    def _look_all(self, path: str, body: bytes) -> dict[str, tuple[str, str | None]]:
        """State by id of every incident a request names, in its path or as items of its body."""
        ids = [path.split("/")[2]] if path.startswith("/incidents/") else []
        if path == "/incidents" and body:
            ids = [item["id"] for item in json.loads(body).get("incidents", [])]
        found = {id_: self.simulator.account.incident(id_) for id_ in ids}
        return {id_: (one.status, one.priority_id) for id_, one in found.items() if one is not None}

    def _cases_linked_to(self, incident_ids: Collection[str]) -> dict[str, str]:
        """The Case by incident, for those of the incidents that have one."""
        pairs: Mapping[str, Pair] = self.quietly(self.workers.pairs)
        return {
            pair.incident_id: case_id
            for case_id, pair in pairs.items()
            if pair.incident_id in incident_ids and pair.state == "linked" and pair.incident_id is not None
        }

    def quietly(self, do: Callable[[], Any]) -> Any:
        """Look into the world without being seen: no point is passed and no time goes by."""
        was, at = self._in_point, self.clock.offset
        self._in_point = True
        try:
            return do()
        finally:
            self._in_point, self.clock.offset = was, at

    def _note_writes(
        self,
        method: str,
        path: str,
        before: Mapping[str, tuple[str, str | None]],
        body: bytes,
        linked: Mapping[str, str],
        *,
        is_lost: bool,
    ) -> None:
        """Put down what a call has done to each incident it names."""
        content = json.loads(body)
        items = {item["id"]: item for item in content.get("incidents", [])}
        after = self._look_all(path, body)
        operation = f"{method} {'note' if path.endswith('/notes') else 'incident'}"
        if not before:
            self.journal.writes.append(Write(self.clock.now(), operation, "", None, None, body.decode(), True, False))
        for incident_id, was in before.items():
            text = json.dumps(items.get(incident_id) or content.get("incident") or content)
            # The same write again after an answer that was lost is a repetition asked for, not an echo.
            is_repeat = (incident_id, text) in self._unheard
            if is_lost or self._is_stalled:
                self._unheard.add((incident_id, text))
            self._written.append((incident_id, text))
            write = Write(
                self.clock.now(),
                operation,
                incident_id,
                was,
                after.get(incident_id),
                text,
                incident_id in linked,
                is_repeat,
                self.people.closed_at.get(linked.get(incident_id, ""), self._work_began) < self._work_began,
            )
            self.journal.writes.append(write)
            self.tell(f"  we: {method} {path} {text[:140]}  {was} → {write.after}")
        if not before:
            self.tell(f"  we: {method} {path} {body[:140].decode()}")

    # ------------------------------------------------------------ PagerDuty's webhooks

    def _heard(self, event: Event) -> None:
        agent_id = event.agent["id"] if event.agent else None
        reason, status = event.data.get("resolve_reason"), event.data.get("status")
        happened = Happened(event.occurred_at, event.event_type, event.resource_id, agent_id, bool(reason), status)
        self.journal.events.append(happened)

    def _send(self, webhook: Webhook) -> None:
        """One webhook sets out: it may be lost, come twice, late, or out of order."""
        name, rates = f"webhook {next(self._webhooks)}", self.fates.rates
        if self.fates.strikes(rates.webhook_lost, f"{name} lost"):
            self.journal.faults["webhooks lost"] += 1
            self.tell(f"  {name} ({webhook.event_type}) is lost")
            return
        dice, now = self.fates.dice(name), self.clock.now()
        due = max(now + dice.uniform(0.02, 0.3), self._lanes.get(webhook.lane, 0.0) + 0.001)
        latency = dice.uniform(0.0, rates.latest_seconds)
        if self.fates.strikes(rates.webhook_late, f"{name} late"):
            # However much each is late on its lane, PagerDuty tries none for longer than two days.
            due = min(due + latency, now + TRIED_FOR)
            self.journal.faults["webhooks late"] += 1
            self.tell(f"  {name} ({webhook.event_type}) comes {latency:.0f} s late")
            if dice.random() < 0.5:
                self._lanes[webhook.lane] = due
        else:
            self._lanes[webhook.lane] = due
        self._deliver_at(due, webhook, name)
        if self.fates.strikes(rates.webhook_twice, f"{name} twice"):
            self.journal.faults["webhooks twice"] += 1
            again = due + dice.uniform(0.0, rates.latest_seconds)
            self._deliver_at(again, Webhook(**vars(webhook)), name)

    def _deliver_at(self, when: float, webhook: Webhook, name: str) -> None:
        self.at(when, "webhook", lambda: self._deliver(webhook, name))

    def _deliver(self, webhook: Webhook, name: str) -> None:
        outcome = self.wire.deliver(self.post, webhook)
        self.tell(f"  {name} ({webhook.event_type}) is {outcome}")
        if outcome == "retry":
            self._deliver_at(webhook.not_before, webhook, name)

    @property
    def late_webhooks(self) -> list[tuple[float, int, str, Callable[[], None]]]:
        return sorted(event for event in self._events if event[2] == "webhook")

    def take_webhooks(self) -> list[Callable[[], None]]:
        """Take all webhooks off their way, for the caller to deliver when it likes."""
        taken = [do for _, _, _, do in self.late_webhooks]
        self._events = [event for event in self._events if event[2] != "webhook"]
        heapq.heapify(self._events)
        self._lanes.clear()
        return taken

    # ------------------------------------------------------------ what happens in a story

    def perform(self, step: Step) -> None:
        """One step; what does not apply any more does nothing."""
        self.happened += 1
        self.tell(f"{self.clock.now() - START:10.3f}  {step}")
        kind, _, verb = step.what.partition(" ")
        if step.what == "wait":
            self.wait(step.number)
        elif step.what == "http":
            self._http_faults.append([int(step.number), step.value])
        elif step.what in ("crash", "meanwhile"):
            self._armed.append([int(step.number), step])
        elif step.what == "redis emptied":
            self.journal.faults["redis emptied"] += 1
            self._events = [event for event in self._events if event[2] != "nudge"]
            heapq.heapify(self._events)
            self.application.restart()
        elif step.what == "subscription disabled":
            self.journal.faults["subscription disabled"] += 1
            self._disable()
        elif step.what in ("watchdog", "reconcile"):
            self.work(step.what, None)
        elif step.what == "case open":
            self._open(step)
        elif step.case < len(self.case_ids):
            if kind == "case":
                self.people.act_on_case(self.case_ids[step.case], verb, step.value)
            else:
                self.people.act_in_pagerduty(step.case, step.what, step.value)

    def tell(self, line: str) -> None:
        self.journal.lines.append(line)

    def _disable(self) -> None:
        for subscription in self.simulator.subscriptions.all():
            self.simulator.subscriptions.disable(subscription)
        self.take_webhooks()

    def _open(self, step: Step) -> None:
        if step.case != len(self.case_ids):
            return
        title = f"{self.service} number {step.case}"
        case = self.as_a_person(lambda: self.application.cases.create_case(title, CasePriority(step.value), actor=JANE))
        self.case_ids.append(case.id)
        self.workers.case_changed(case.id)

    def as_a_person(self, do: Callable[[], Any]) -> Any:
        """A person's own request: no worker is at a point because of it."""
        self.clock.advance(JOB_SECONDS)
        was, self._in_point = self._in_point, True
        try:
            return do()
        finally:
            self._in_point = was


class _Committer:
    """In place of the group commit, whose threads would bring their own order: each row is committed at once."""

    def __init__(self, world: World) -> None:
        self._world = world

    def commit(self, row: Any) -> int | None:
        world = self._world
        workers = world.workers
        if workers.name != "sync":
            workers.accept(row.body)
            return 1
        (id_,) = world.as_a_person(lambda: world.application.inbox.insert([row]))
        if id_ is not None:
            world.nudge("verify", [id_])
        return int(id_) if id_ is not None else None


def _prepare(database_url: str) -> None:
    import psycopg

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.getLogger("pagerduty_sync").setLevel(logging.CRITICAL)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(CLOCK_SQL.encode())
    migrate(database_url)
