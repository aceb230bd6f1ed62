"""The real sync as the world drives it: what the Celery tasks do, one nudge at a time and without Celery."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.histories.journal import Pair
from tests.histories.world import WAKE_SQL, World

LOOKS_AT_ONCE = 3


class SyncWorkers:
    """Nudges carry row ids; everything else is in PostgreSQL."""

    name = "sync"

    def __init__(self, world: World) -> None:
        self._world = world
        self._this = world.application

    def run(self, job: str, payload: Any) -> None:
        match job:
            case "verify":
                self._nudge_links(self._this.inbound.verify(payload))
            case "route":
                self._look_at([link_id for case_id in payload if (link_id := self._this.router.route(case_id))])
            case "look":
                self._look_at(payload)
            case "call":
                wait = self._this.sync.call(payload)
                if wait is not None:
                    self._world.nudge("call", payload, min(wait + 0.2, 30.0))
            case "sweep":
                self._sweep()
            case "reconcile":
                to_read = self._this.upkeep.reconcile()
                for integration_id in to_read.integration_ids:
                    self._world.nudge("call", integration_id)
                if to_read.again_in is not None:
                    self._world.nudge("reconcile", None, to_read.again_in)
            case "watchdog":
                if self._this.upkeep.watch():
                    self._world.nudge("reconcile", None)

    def _nudge_links(self, link_ids: list[str]) -> None:
        if link_ids:
            self._world.nudge("look", link_ids)

    def _look_at(self, link_ids: list[str]) -> None:
        due = set()
        for link_id in link_ids:
            for _ in range(LOOKS_AT_ONCE):
                looked = self._this.sync.look(link_id)
                if looked.integration_id is not None:
                    due.add(looked.integration_id)
                if not looked.is_dirty:
                    break
        for integration_id in sorted(due):
            self._world.nudge("call", integration_id)

    def _sweep(self) -> None:
        found = self._this.sweep.find()
        if found.inbox_ids:
            self._world.nudge("verify", found.inbox_ids)
        if found.case_ids:
            self._world.nudge("route", found.case_ids)
        if found.link_ids:
            self._world.nudge("look", sorted(found.link_ids))
        for integration_id in found.integration_ids:
            self._world.nudge("call", integration_id)

    def accept(self, body: bytes) -> None:
        raise AssertionError("the inbox takes webhooks")

    def case_changed(self, case_id: str) -> None:
        self._world.nudge("route", [case_id])

    def reconcile(self) -> None:
        self._world.work("reconcile", None)

    def watch(self) -> None:
        self._world.work("watchdog", None)

    def wakes_at(self) -> float | None:
        row = self._world.quietly(self._wake)
        return float(row["at"]) if row["at"] is not None else None

    def _wake(self) -> Any:
        with self._this.database.transaction() as connection:
            return connection.execute(WAKE_SQL).fetchone()

    def clear(self) -> None:
        pass

    def pairs(self) -> Mapping[str, Pair]:
        with self._this.database.transaction() as connection:
            rows = connection.execute("SELECT case_id, incident_id, state, ended_reason FROM links").fetchall()
        return {str(row["case_id"]): Pair(row["incident_id"], row["state"], row["ended_reason"]) for row in rows}
