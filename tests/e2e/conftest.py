"""One whole installation for all tests that need one: it starts once and outlives what they do to it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.breakable import Breakable
from tests.e2e.playground import a_playground


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The story is told first: it counts every webhook there was, and later ones are broken on purpose."""
    here = [number for number, item in enumerate(items) if "installation" in getattr(item, "fixturenames", ())]
    ordered = sorted((items[number] for number in here), key=lambda item: "test_story" not in item.nodeid)
    for number, item in zip(here, ordered, strict=True):
        items[number] = item


@pytest.fixture(scope="session")
def installation() -> Iterator[Breakable]:
    """Everything `make run` starts, on free ports, in a directory that is thrown away."""
    with a_playground(print) as breakable:
        yield breakable


@pytest.fixture
def breakable(installation: Breakable) -> Iterator[Breakable]:
    """The installation, whole at the beginning of the test; what a failed test broke is mended after it."""
    installation.wait_until_ready()
    yield installation
    installation.mend()
