"""One simulated PagerDuty: its parts, wired, with the threads that move time and webhooks along."""

import logging
import threading
from pathlib import Path

from .clock import Clock
from .delivery import Dispatcher
from .faults import Faults
from .incidents import Incidents
from .journal import Ring
from .limits import Limits
from .notes import Notes
from .persistence import Snapshots
from .recording import Recorder
from .render import Shapes
from .state import Account
from .subscriptions import Subscriptions

log = logging.getLogger(__name__)


class Simulator:
    """Everything one process simulates. Threads run between `start` and `stop`; without them it is a still picture."""

    def __init__(self, public_base: str, state_file: Path | None = None) -> None:
        self.clock = Clock()
        self.faults = Faults()
        self.account = Account(self.clock)
        self.shapes = Shapes(self.account, public_base, lambda: self.faults.knobs)
        self.requests = Ring()
        self.deliveries = Ring()
        self.limits = Limits(self.clock)
        self.subscriptions = Subscriptions(
            self.account,
            limit=lambda: self.faults.knobs.subscription_limit,
            disable_seconds=lambda: self.faults.knobs.disable_seconds,
        )
        self.dispatcher = Dispatcher(self.clock, self.faults, self.subscriptions, self.deliveries, self.changed)
        record = Recorder(self.account, self.shapes, self.dispatcher.emit)
        self.notes = Notes(self.faults, self.shapes, record)
        self.incidents = Incidents(self.account, self.faults, self.shapes, record, self.notes)
        self._snapshots = (
            Snapshots(state_file, self.account, self.subscriptions, self.dispatcher) if state_file else None
        )
        if self._snapshots:
            self._snapshots.load()
            self.incidents.rearm()
        self._stopping = threading.Event()
        self._moved = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        if self._thread:
            return
        self._stopping.clear()
        self.dispatcher.start()
        if self._snapshots:
            self._snapshots.start()
        self._thread = threading.Thread(target=self._watch_timers, name="timers", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the threads and write the last snapshot."""
        self._stopping.set()
        self._moved.set()
        if self._thread:
            self._thread.join(timeout=1.0)
            self._thread = None
        self.dispatcher.stop()
        if self._snapshots:
            self._snapshots.stop()

    def changed(self) -> None:
        """Something worth keeping has changed; also wakes the timers, as there may be a new one."""
        self._moved.set()
        if self._snapshots:
            self._snapshots.mark()

    def advance(self, seconds: float) -> None:
        """Move the clock and carry out, before returning, every timer that became due on the way."""
        with self.account.lock:
            self.clock.advance(seconds)
            self.incidents.fire_due()
        self.dispatcher.wake()
        self.changed()

    def reset(self, keep_subscriptions: bool = False) -> None:
        """Back to the seeds: no incidents, no faults, nothing queued. The clock stays, for time never runs back."""
        with self.account.lock:
            self.faults.reset()
            self.dispatcher.discard()
            self.account.clear_incidents()
            self.incidents.rearm()
            if keep_subscriptions:
                for subscription in self.subscriptions.all():
                    self.subscriptions.enable(subscription)
            else:
                self.subscriptions.load([])
        self.limits.clear()
        self.requests.clear()
        self.deliveries.clear()
        self.changed()

    def _watch_timers(self) -> None:
        while not self._stopping.is_set():
            self._moved.clear()
            with self.account.lock:
                due = self.incidents.next_due()
                ahead = None if due is None else due - self.clock.now()
                if ahead is not None and ahead <= 0:
                    self.incidents.fire_due()
                    continue
            self._moved.wait(60.0 if ahead is None else min(ahead, 60.0))
