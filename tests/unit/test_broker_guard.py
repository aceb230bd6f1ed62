"""The guard is what Celery's connections are made of, and a channel that was collected says that it is lost."""

import kombu
import pytest
import redis
from kombu.transport import TRANSPORT_ALIASES, get_transport_cls
from kombu.transport.redis import Transport

from pagerduty_sync.settings import Settings
from tasks import broker_guard
from tasks.app import QUEUES, ROUTES, app, broker_url, configuration


@pytest.mark.parametrize("scheme", ["redis", "rediss"])
def test_every_redis_connection_of_this_process_is_guarded(scheme: str) -> None:
    assert app.main == "pagerduty_sync"
    assert TRANSPORT_ALIASES[scheme] == "tasks.broker_guard:GuardedTransport"
    assert get_transport_cls(scheme) is broker_guard.GuardedTransport
    assert issubclass(broker_guard.GuardedTransport, Transport)
    assert isinstance(kombu.Connection(f"{scheme}://127.0.0.1:1/0").transport, broker_guard.GuardedTransport)


def test_a_collected_channel_says_that_the_connection_is_lost() -> None:
    transport = broker_guard.GuardedTransport(client=kombu.Connection("redis://127.0.0.1:1/0"))
    for connection in (None, transport):
        channel = broker_guard.GuardedChannel.__new__(broker_guard.GuardedChannel)
        channel.connection = connection
        if connection is not None:
            connection.client = None
        with pytest.raises(redis.exceptions.ConnectionError):
            channel._connparams()
        channel.connection = None
    assert issubclass(redis.exceptions.ConnectionError, transport.connection_errors)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("redis://:pw@host:6379/3", "redis://:pw@host:6379/3"),
        ("rediss://:pw@host:6379/0", "rediss://:pw@host:6379/0?ssl_cert_reqs=required"),
        ("rediss://host/0?ssl_cert_reqs=none", "rediss://host/0?ssl_cert_reqs=none"),
        ("rediss://host/0?ssl_ca_certs=/ca.pem", "rediss://host/0?ssl_ca_certs=/ca.pem&ssl_cert_reqs=required"),
        ("unix:///run/valkey.sock?db=2", "redis+socket:///run/valkey.sock?virtual_host=2"),
        ("unix://:pw@/run/valkey.sock", "redis+socket://:pw@/run/valkey.sock"),
    ],
)
def test_the_broker_s_address_is_said_in_kombu_s_words(given: str, told: str) -> None:
    assert broker_url(given) == told


def test_every_task_has_a_declared_queue_and_every_clock_entry_expires() -> None:
    told = configuration(Settings(redis_url="redis://127.0.0.1:1/0", sweep_seconds=7))
    assert {queue.name for queue in told["task_queues"]} == set(QUEUES) >= set(ROUTES.values())
    assert told["beat_schedule"]["sweep"]["schedule"] == 7
    for entry in told["beat_schedule"].values():
        assert entry["task"] in ROUTES
        assert entry["schedule"] < entry["options"]["expires"] <= entry["schedule"] + 120
