"""One whole installation for all tests that need one: it starts once and outlives what they do to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pagerduty_sync.embedded.installation import an_installation
from tests.e2e.breakable import RECONCILE_SECONDS, Breakable

SETTINGS = {
    # Everything that happens by the clock happens soon, so that nobody has to wait for it.
    "SWEEP_SECONDS": "2",
    "LEASE_SECONDS": "8",
    "RECONCILE_SECONDS": str(RECONCILE_SECONDS),
    # The people here are many, and quick.
    "REQUESTS_PER_MINUTE": "60000",
}
LIMITS = {"rest_limit_per_minute": 100_000, "create_limit_per_minute": 100_000, "bulk_limit_per_minute": 100_000}
# A receiver that was away for seconds is tried again within seconds.
RETRIES = {"retry_schedule": [0.5, 0.5, 1, 1, 2]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The story is told first: it counts every webhook there was, and later ones are broken on purpose."""
    here = [number for number, item in enumerate(items) if "installation" in getattr(item, "fixturenames", ())]
    ordered = sorted((items[number] for number in here), key=lambda item: "test_story" not in item.nodeid)
    for number, item in zip(here, ordered, strict=True):
        items[number] = item


@pytest.fixture(scope="session")
def installation() -> Iterator[Breakable]:
    """Everything `make run` starts, on free ports, in a directory that is thrown away."""
    with an_installation(print, SETTINGS) as running:
        breakable = Breakable(running)
        breakable.faults(**LIMITS, **RETRIES)
        yield breakable


@pytest.fixture
def breakable(installation: Breakable) -> Iterator[Breakable]:
    """The installation, whole at the beginning of the test; what a failed test broke is mended after it."""
    installation.wait_until_ready()
    yield installation
    installation.mend()
