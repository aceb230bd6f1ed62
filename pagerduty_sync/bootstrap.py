"""Picks the real parts and joins them. Nothing here connects anywhere: the database and Redis are reached when used."""

from __future__ import annotations

from pagerduty_sync.settings import Settings
from pagerduty_sync.wiring.hindsight import HindsightParts


class Application(HindsightParts):
    """The wired parts of one process. Build it after a fork, close it at the end."""

    def close(self) -> None:
        """Give every connection back; the object is of no use afterwards."""
        for _, calls in self._calls.values():
            calls.client.close()
        self.event_calls.close()
        if self._redis is not None:
            self._redis.close()
        self.database.close()


def build(settings: Settings) -> Application:
    """The application these settings describe; raises SettingsError for what is missing in them."""
    return Application(settings)
