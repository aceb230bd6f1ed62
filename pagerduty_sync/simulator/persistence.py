"""Keeps incidents, subscriptions and undelivered webhooks in a JSON file across restarts. Faults are not kept."""

import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

from .delivery import Dispatcher
from .model import Agent, Alert, Incident, Json, LogEntry, Note, Subscription, Webhook
from .state import Account
from .subscriptions import Subscriptions

log = logging.getLogger(__name__)

VERSION = 1


class Snapshots:
    """Writes the file a moment after a change, from a thread, and never half: a new file takes the old one's name."""

    def __init__(
        self, path: Path, account: Account, subscriptions: Subscriptions, dispatcher: Dispatcher, pause: float = 0.5
    ) -> None:
        self._path, self._account = path, account
        self._subscriptions, self._dispatcher = subscriptions, dispatcher
        self._pause = pause
        self._dirty = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def mark(self) -> None:
        self._dirty.set()

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="snapshots", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._dirty.set()
        if self._thread:
            self._thread.join(timeout=5.0)
            self._thread = None
        self.write()

    def _run(self) -> None:
        while True:
            self._dirty.wait()
            if self._stopping.is_set():
                return
            self._dirty.clear()
            started = time.monotonic()
            try:
                self.write()
            except OSError as exc:
                log.error("snapshot=%s outcome=failed error=%s", self._path, exc)
            # A big account is written less often, so that writing never takes more than a tenth of the time.
            self._stopping.wait(max(self._pause, 9 * (time.monotonic() - started)))

    def write(self) -> None:
        with self._account.lock:
            text = json.dumps(self._collect(), default=vars)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_name(f"{self._path.name}.new")
        with fresh.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)  # it holds signing secrets
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(self._path)

    def _collect(self) -> Json:
        return {
            "version": VERSION,
            "clock_offset": self._account.clock.offset,
            "incidents": list(self._account.incidents.values()),
            "subscriptions": self._subscriptions.all(),
            "webhooks": self._dispatcher.pending(),
        }

    def load(self) -> None:
        """Read the file if there is one. One that cannot be read is set aside, so that the simulator still starts."""
        try:
            saved = json.loads(self._path.read_text(encoding="utf-8"))
            if saved["version"] != VERSION:
                raise ValueError(f"version {saved['version']}")
            incidents = [_incident(fields) for fields in saved["incidents"]]
            subscriptions = [Subscription(**fields) for fields in saved["subscriptions"]]
            webhooks = [Webhook(**fields) for fields in saved["webhooks"]]
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError) as exc:
            aside = self._path.with_name(f"{self._path.name}.unreadable")
            self._path.replace(aside)
            log.error("snapshot=%s outcome=unreadable error=%s kept_as=%s", self._path, exc, aside)
            return
        self._account.clock.offset = saved["clock_offset"]
        for incident in incidents:
            self._account.add(incident)
        self._account.log.sort(key=lambda entry: entry.created_at)
        self._subscriptions.load(subscriptions)
        for webhook in webhooks:
            self._dispatcher.put(webhook)


def _incident(fields: Json) -> Incident:
    rebuilt: dict[str, Any] = fields | {
        "last_status_change_by": Agent(*fields["last_status_change_by"]),
        "assignments": [(user_id, at) for user_id, at in fields["assignments"]],
        "acknowledgements": [(user_id, at) for user_id, at in fields["acknowledgements"]],
        "notes": [Note(**note) for note in fields["notes"]],
        "alerts": [Alert(**alert) for alert in fields["alerts"]],
        "log": [LogEntry(**entry | {"agent": Agent(*entry["agent"])}) for entry in fields["log"]],
    }
    return Incident(**rebuilt)
