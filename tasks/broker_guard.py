"""Keeps a worker alive when the broker goes away while the worker holds messages.

Celery 5.7.0 closes the broken connection once more after collecting it. The close puts unacknowledged messages back on
a channel that has already lost its connection, kombu follows the missing reference, and the AttributeError ends the
worker, because it is not among the errors that mean "connect again". Here the same channel says what really happened.
`tests/e2e/test_broker_loss.py` fails when this module is no longer needed.
"""

from __future__ import annotations

from typing import Any

from kombu import transport
from kombu.transport import redis as kombu_redis
from redis.exceptions import ConnectionError as BrokerConnectionError


class GuardedChannel(kombu_redis.Channel):
    """A Redis channel that reports a lost connection as one, also after it was collected."""

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if self.connection is None or self.connection.client is None:
            raise BrokerConnectionError("the channel's connection to the broker is gone")
        params: dict[str, Any] = super()._connparams(asynchronous=asynchronous)  # type: ignore[misc]
        return params


class GuardedTransport(kombu_redis.Transport):
    """kombu's Redis transport over guarded channels."""

    Channel = GuardedChannel


def install() -> None:
    """Make every later `redis://` and `rediss://` connection of this process a guarded one; may be called again."""
    for scheme in ("redis", "rediss"):
        transport.TRANSPORT_ALIASES[scheme] = f"{__name__}:{GuardedTransport.__name__}"
        # A connection made before would have left the unguarded class here.
        transport._transport_cache.pop(scheme, None)  # type: ignore[attr-defined]
