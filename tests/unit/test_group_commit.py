"""The group committer over functions in place of database and broker: who waits, how long, and what they are told."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from pagerduty_sync.domain.deliveries import Delivery, Direction, Outcome, Reason
from pagerduty_sync.errors import StorageError
from pagerduty_sync.stores.inbox import Received
from pagerduty_sync.stores.subscriptions import Signers
from web.group_commit import CommitTimeoutError, GroupCommitter
from web.rejections import Rejections
from web.signers import RecentSigners


def a_row(number: int) -> Received:
    return Received("integration", f"whk-{number}", "PSUB001", "v1=0", b"{}")


class Table:
    """An inbox in memory; `is_open` lets inserts through, `fail_with` makes them fail."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self.batches: list[int] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.entered = threading.Event()
        self.fail_with: Exception | None = None
        self._numbers = itertools.count(1)

    def insert(self, rows: Sequence[Received]) -> list[int | None]:
        self.entered.set()
        assert self.is_open.wait(10)
        if self.fail_with is not None:
            raise self.fail_with
        self.batches.append(len(rows))
        found: list[int | None] = []
        for row in rows:
            is_new = row.webhook_id not in self.ids
            found.append(self.ids.setdefault(row.webhook_id, next(self._numbers)) if is_new else None)
        return found


class Broker:
    def __init__(self) -> None:
        self.messages: list[list[int]] = []
        self.is_open = threading.Event()
        self.is_open.set()
        self.fail_with: Exception | None = None

    def publish(self, ids: list[int]) -> None:
        assert self.is_open.wait(10)
        if self.fail_with is not None:
            raise self.fail_with
        self.messages.append(ids)

    @property
    def published(self) -> list[int]:
        return sorted(itertools.chain.from_iterable(self.messages))


@pytest.fixture
def table() -> Table:
    return Table()


@pytest.fixture
def broker() -> Broker:
    return Broker()


@pytest.fixture
def make(table: Table, broker: Broker) -> Iterator[Callable[..., GroupCommitter]]:
    made: list[GroupCommitter] = []

    def maker(**options: float) -> GroupCommitter:
        given = {"wait_seconds": 5.0} | options
        made.append(GroupCommitter(table.insert, broker.publish, **given))  # type: ignore[arg-type]
        return made[-1]

    yield maker
    table.is_open.set()
    broker.is_open.set()
    for committer in made:
        committer.close()


def test_each_request_is_told_about_its_own_row_and_every_new_row_is_published_once(
    make: Callable[..., GroupCommitter], table: Table, broker: Broker
) -> None:
    committer = make()
    with ThreadPoolExecutor(32) as pool:
        told = list(pool.map(lambda number: committer.commit(a_row(number % 500)), range(1_000)))
    committer.close()
    new = sorted(id_ for id_ in told if id_ is not None)
    assert new == sorted(table.ids.values())
    assert len(new) == 500
    assert broker.published == new


def test_requests_that_come_while_a_commit_runs_share_the_next_one(
    make: Callable[..., GroupCommitter], table: Table
) -> None:
    committer = make()
    table.is_open.clear()
    with ThreadPoolExecutor(21) as pool:
        first = pool.submit(committer.commit, a_row(0))
        assert table.entered.wait(5)
        others = [pool.submit(committer.commit, a_row(number)) for number in range(1, 21)]
        until(lambda: len(committer._pending) == 20)
        table.is_open.set()
        assert len({future.result() for future in [first, *others]}) == 21
    assert table.batches == [1, 20]


def test_a_batch_is_never_larger_than_allowed(make: Callable[..., GroupCommitter], table: Table) -> None:
    committer = make(max_batch=8)
    table.is_open.clear()
    with ThreadPoolExecutor(21) as pool:
        waiting = [pool.submit(committer.commit, a_row(number)) for number in range(21)]
        until(lambda: len(committer._pending) >= 13)
        table.is_open.set()
        assert all(future.result() for future in waiting)
    assert max(table.batches) <= 8


def test_no_thread_exists_before_the_first_request(make: Callable[..., GroupCommitter]) -> None:
    before = threading.active_count()
    committer = make()
    assert threading.active_count() == before
    committer.commit(a_row(1))
    assert threading.active_count() == before + 2


def test_a_request_waits_no_longer_than_it_may_and_its_row_is_not_piled_up(
    make: Callable[..., GroupCommitter], table: Table
) -> None:
    committer = make(wait_seconds=0.1)
    table.is_open.clear()
    with ThreadPoolExecutor(4) as pool:
        started = time.monotonic()
        late = [pool.submit(committer.commit, a_row(number)) for number in range(4)]
        for future in late:
            with pytest.raises(CommitTimeoutError):
                future.result()
    assert time.monotonic() - started < 3
    assert committer._pending == []
    table.is_open.set()
    # What the committer had already taken is stored late, and the repeat of it is no second row.
    until(lambda: len(table.ids) >= 1)
    assert committer.commit(a_row(99)) is not None


def test_a_full_queue_refuses_at_once(make: Callable[..., GroupCommitter], table: Table) -> None:
    committer = make(max_pending=2)
    table.is_open.clear()
    with ThreadPoolExecutor(3) as pool:
        accepted = [pool.submit(committer.commit, a_row(0))]
        assert table.entered.wait(5)
        accepted += [pool.submit(committer.commit, a_row(number)) for number in (1, 2)]
        until(lambda: len(committer._pending) == 2)
        with pytest.raises(CommitTimeoutError, match="Too many"):
            committer.commit(a_row(3))
        table.is_open.set()
        assert all(future.result() for future in accepted)


@pytest.mark.parametrize("error", [StorageError("no database"), RuntimeError("poison"), ValueError("poison")])
def test_whatever_goes_wrong_is_told_to_those_who_wait_and_the_next_request_is_served(
    make: Callable[..., GroupCommitter], table: Table, error: Exception
) -> None:
    committer = make()
    table.fail_with = error
    with pytest.raises(StorageError) as raised:
        committer.commit(a_row(1))
    assert "poison" not in str(raised.value)
    assert raised.value.__cause__ is error
    table.fail_with = None
    assert committer.commit(a_row(1)) is not None


def test_an_insert_that_forgets_a_row_accepts_none(broker: Broker) -> None:
    committer = GroupCommitter(lambda rows: [], broker.publish, wait_seconds=5)
    with pytest.raises(StorageError):
        committer.commit(a_row(1))
    committer.close()


def test_a_broker_that_fails_or_hangs_holds_up_nobody(
    make: Callable[..., GroupCommitter], table: Table, broker: Broker
) -> None:
    committer = make()
    broker.fail_with = ConnectionError("no broker")
    assert committer.commit(a_row(1)) == 1
    broker.is_open.clear()
    assert [committer.commit(a_row(number)) for number in range(2, 20)] == list(range(2, 20))
    broker.fail_with = None
    broker.is_open.set()
    committer.close()
    # What hung is sent afterwards, together; what failed is the sweep's.
    assert set(range(3, 20)) <= set(broker.published)
    assert len(broker.messages) < 17


def test_closing_commits_and_publishes_what_is_there_and_refuses_what_comes_later(
    make: Callable[..., GroupCommitter], table: Table, broker: Broker
) -> None:
    committer = make()
    table.is_open.clear()
    with ThreadPoolExecutor(6) as pool:
        waiting = [pool.submit(committer.commit, a_row(0))]
        assert table.entered.wait(5)
        waiting += [pool.submit(committer.commit, a_row(number)) for number in range(1, 5)]
        until(lambda: len(committer._pending) == 4)
        closing = pool.submit(committer.close)
        until(lambda: committer._is_closing)
        table.is_open.set()
        closing.result(10)
        assert sorted(future.result() or 0 for future in waiting) == broker.published
    with pytest.raises(CommitTimeoutError, match="stopping"):
        committer.commit(a_row(9))
    committer.close()


def test_closing_what_never_ran_is_nothing(make: Callable[..., GroupCommitter]) -> None:
    make().close()


def test_rejections_are_sampled_counted_and_harmless_without_a_database() -> None:
    now, written = 100.0, []
    rejections = Rejections(written.append, clock=lambda: now)
    rejected = Delivery(Direction.INBOUND, "receive_webhook", Outcome.REJECTED, Reason.REJECTED_SIGNATURE, "no header")
    for _ in range(1_000):
        rejections.record("one", rejected)
    rejections.record("two", rejected)
    assert [delivery.detail for delivery in written] == ["no header", "no header"]
    now = 111.0
    rejections.record("one", rejected)
    assert "999 more" in written[-1].detail

    def fail(_: Delivery) -> None:
        raise StorageError("no database")

    Rejections(fail).record("one", rejected)


def signers(**secrets: str) -> dict[str, Signers]:
    return {"one": Signers("connected", True, False, secrets, frozenset())}


def test_signers_are_asked_for_once_in_a_while_and_at_once_for_something_unknown() -> None:
    now, asked, answer = 0.0, [], signers(PSUB001="s")

    def load() -> dict[str, Signers]:
        asked.append(now)
        return answer

    recent = RecentSigners(load, clock=lambda: now)
    for moment in (0.0, 1.0, 1.9, 2.1, 3.0):
        now = moment
        assert recent.of("one", "PSUB001") is not None
    assert asked == [0.0, 2.1]
    answer = signers(PSUB001="s", PSUB002="t")
    found = recent.of("one", "PSUB002")
    assert found is not None
    assert "PSUB002" in found.secrets
    assert recent.of("two", "PSUB002") is None
    assert asked == [0.0, 2.1, 3.0]


def test_without_a_database_signers_are_those_of_a_moment_ago_and_nobody_asks_in_a_storm() -> None:
    now, asked, is_down = 0.0, [], False

    def load() -> dict[str, Signers]:
        asked.append(now)
        if is_down:
            raise StorageError("no database")
        return signers(PSUB001="s")

    recent = RecentSigners(load, clock=lambda: now)
    assert recent.of("one", "PSUB001") is not None
    is_down, now = True, 50.0
    for _ in range(20):
        assert recent.of("one", "PSUB001") is not None
    assert len(asked) == 2
    fresh = RecentSigners(load, clock=lambda: now)
    for _ in range(20):
        with pytest.raises(StorageError):
            fresh.of("one", "PSUB001")
    assert len(asked) == 3
    is_down, now = False, 51.0
    assert fresh.of("one", "PSUB001") is not None


def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that in time"
        time.sleep(0.002)
