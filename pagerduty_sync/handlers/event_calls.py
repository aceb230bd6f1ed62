"""The ways to the Events API: one client for each address and one budget for each routing key, made when asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable

import redis

from pagerduty_sync.pagerduty.budget import Budget, key_id_of
from pagerduty_sync.pagerduty.events import EVENTS_BURST, EVENTS_PER_MINUTE, EventsClient

MOST_BUDGETS = 1_000
"""A template may yield any number of keys. What is forgotten is only this process's share; Redis keeps the rest."""


class EventCalls:
    """Safe for threads."""

    def __init__(self, redis_client: Callable[[], redis.Redis]) -> None:
        self._redis_client = redis_client
        self._making = threading.Lock()
        self._clients: dict[str, EventsClient] = {}
        self._budgets: dict[str, Budget] = {}

    def client_of(self, events_url: str) -> EventsClient:
        with self._making:
            if events_url not in self._clients:
                self._clients[events_url] = EventsClient(events_url)
            return self._clients[events_url]

    def budget_of(self, routing_key: str) -> Budget:
        key_id = key_id_of(routing_key)
        with self._making:
            if key_id not in self._budgets:
                if len(self._budgets) >= MOST_BUDGETS:
                    self._budgets.clear()
                self._budgets[key_id] = Budget(
                    self._redis_client(), key_id, EVENTS_PER_MINUTE, EVENTS_BURST, prefix="pagerduty_sync:events:"
                )
            return self._budgets[key_id]

    def close(self) -> None:
        """Close this thread's connections."""
        for client in self._clients.values():
            client.close()
