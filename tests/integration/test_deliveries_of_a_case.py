"""The log of one Case: what was logged before it had a link, and since."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest

from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.stores.deliveries import DeliveryFilters
from tests.harness import Harness, a_harness


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as harness:
        yield harness


def numbers(deliveries, **filters):
    return {delivery.id for delivery in deliveries.find(DeliveryFilters(**filters), limit=500)[0]}


def test_rows_before_and_after_the_link_are_found_by_every_name_of_the_case(harness):
    case, other = harness.open_case(), harness.open_case()
    deliveries, link = harness.application.deliveries, harness.link(case.id)
    ignored = Delivery(Direction.INBOUND, "case_push", Outcome.IGNORED, Reason.NO_ROUTE)
    (before,) = deliveries.add(None, [replace(ignored, case_id=case.id, case_name=case.name)])
    deliveries.add(None, [replace(ignored, case_id=other.id, case_name=other.name)])
    of_case = numbers(deliveries, case=case.id)
    of_link = numbers(deliveries, link_id=link.id)
    assert of_link
    assert before in of_case - of_link
    assert of_link < of_case
    assert numbers(deliveries, case=case.readable_id) == of_case
    assert numbers(deliveries, case=case.id.upper()) == of_case
    assert not of_case & numbers(deliveries, case=other.id)
    assert sum(deliveries.count_by_reason(case=case.readable_id).values()) == len(of_case)


def test_the_log_grows_at_one_end_because_ids_of_links_are_in_order_of_time(harness):
    started = time.time()
    ids = []
    for _ in range(3):
        case = harness.open_case()
        ids.append(UUID(harness.link(case.id).id))
        time.sleep(0.002)
    assert ids == sorted(ids)
    assert {one.version for one in ids} == {7}
    moments = [(one.int >> 80) / 1000 for one in ids]
    assert all(started - 60 < moment < time.time() + 60 for moment in moments)
