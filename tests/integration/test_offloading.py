"""Bodies of webhooks in a file: written whole before any is cleared, and back where they came from."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from pagerduty_sync.errors import InvalidRequestError, StorageError
from pagerduty_sync.handlers import offloading
from pagerduty_sync.handlers.second_looks import Result
from pagerduty_sync.stores.inbox import Received
from tests.harness import Harness, a_harness
from tests.integration.test_explain import sql, typed
from tests.integration.test_replay import attempts

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def harness(database_url: str, redis_url: str, tmp_path: Path) -> Iterator[Harness]:
    with a_harness(database_url, redis_url, tmp_path) as made:
        case = made.open_case()
        made.add_note(case.id, "Über the wire: \u2028 \U0001f525")
        made.run()
        yield made


def rows(harness: Harness) -> dict[int, Any]:
    with harness.application.database.transaction() as conn:
        found = conn.execute("SELECT id, state, body, archive, signature FROM inbox ORDER BY id").fetchall()
    return {row["id"]: row for row in found}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def test_bodies_leave_and_come_back_byte_for_byte(harness: Harness, tmp_path: Path) -> None:
    [binary] = harness.application.inbox.insert(
        [Received(harness.integration_id, "w1", "PSUB", "v1=abc", b"\xff\x00 no text")]
    )
    [waiting] = harness.application.inbox.insert(
        [Received(harness.integration_id, "w2", "PSUB", "v1=abc", b"{}")],
    )
    sql(harness, "UPDATE inbox SET state = 'done', reason = 'rejected_signature' WHERE id = %s", binary)
    before = rows(harness)
    handled = [id_ for id_, row in before.items() if row["state"] == "done"]
    assert len(handled) > 2 and waiting not in handled

    path = tmp_path / "bodies.ndjson.gz"
    said = typed(harness, "inbox", "export", "--before", f"{LATER:%FT%T}", "--to", str(path), "--delete")
    assert f"{len(handled)} webhooks, {len(handled)} of them cleared" in said
    after = rows(harness)
    assert all((after[id_]["body"], after[id_]["archive"]) == (b"", path.name) for id_ in handled)
    assert after[waiting] == before[waiting]
    assert path.stat().st_mode & 0o077 == 0
    written = lines(path)
    assert [line["id"] for line in written] == handled
    assert "🔥" in "".join(line.get("body", "") for line in written)
    secrets = [row["signature"] for row in before.values()]
    assert not any(secret in gzip.decompress(path.read_bytes()).decode() for secret in secrets)
    assert "nothing to write" in typed(harness, "inbox", "export", "--before", f"{LATER:%FT%T}", "--to", str(tmp_path))

    assert f"{len(handled)} of {len(handled)}" in typed(harness, "inbox", "import", str(path))
    assert rows(harness) == before
    assert f"0 of {len(handled)}" in typed(harness, "inbox", "import", str(path))
    newest = harness.application.audit.latest(3)[::-1]
    assert [(one.action, one.subject) for one in newest] == [
        ("export", "inbox"),
        ("import", "inbox"),
        ("import", "inbox"),
    ]


def test_without_delete_nothing_changes_and_a_file_is_never_overwritten(harness: Harness, tmp_path: Path) -> None:
    before, this = rows(harness), harness.application.offloading
    done = this.export(LATER, tmp_path, deletes=False, who="tester")
    assert done.path is not None and done.path.parent == tmp_path and done.cleared == 0
    assert rows(harness) == before
    with pytest.raises(InvalidRequestError, match="there already"):
        this.export(LATER, done.path, deletes=True, who="tester")
    with pytest.raises(StorageError, match="cannot be written"):
        this.export(LATER, tmp_path / "missing" / "file.gz", deletes=True, who="tester")
    assert this.export(datetime(2020, 1, 1, tzinfo=UTC), tmp_path, deletes=True, who="tester").path is None


@pytest.mark.parametrize("step", ["fsync", "clear"])
def test_a_crash_on_the_way_loses_nothing(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    before, this = rows(harness), harness.application.offloading
    handled = [id_ for id_, row in before.items() if row["state"] == "done"]
    path = tmp_path / "bodies.ndjson.gz"
    monkeypatch.setattr(offloading, "BATCH", 1)
    calls = {"count": 0}
    real = os.fsync if step == "fsync" else this._bodies.clear

    def dies(*arguments: Any) -> Any:
        calls["count"] += 1
        if calls["count"] == (1 if step == "fsync" else 2):
            raise KeyboardInterrupt
        return real(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(os if step == "fsync" else this._bodies, step, dies)
        with pytest.raises(KeyboardInterrupt):
            this.export(LATER, path, deletes=True, who="tester")
    cleared = [id_ for id_, row in rows(harness).items() if row["archive"]]
    # Nothing was cleared before the file stood there whole.
    assert (path.exists(), len(cleared)) == ((False, 0) if step == "fsync" else (True, 1))
    again = this.export(LATER, tmp_path / "again.gz", deletes=True, who="tester")
    assert (again.written, again.cleared) == (len(handled) - len(cleared),) * 2
    for file in (path, tmp_path / "again.gz"):
        if file.exists():
            this.restore(file, who="tester")
    assert rows(harness) == before


def test_a_webhook_that_somebody_wants_again_meanwhile_keeps_its_body(
    harness: Harness, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    this = harness.application.offloading
    first = next(id_ for id_, row in rows(harness).items() if row["state"] == "done")
    real = this._bodies.clear

    def replayed_first(*arguments: Any) -> int:
        sql(harness, "UPDATE inbox SET state = 'waiting' WHERE id = %s", first)
        return real(*arguments)

    monkeypatch.setattr(this._bodies, "clear", replayed_first)
    done = this.export(LATER, tmp_path, deletes=True, who="tester")
    assert done.cleared == done.written - 1
    assert rows(harness)[first]["body"]


def test_a_broken_file_is_refused(harness: Harness, tmp_path: Path) -> None:
    this = harness.application.offloading
    whole = this.export(LATER, tmp_path / "whole.gz", deletes=True, who="tester")
    assert whole.path is not None
    packed = whole.path.read_bytes()
    for broken in (b"", b"not gzip", packed[:-9], packed[:40], gzip.compress(b"[1]\n"), gzip.compress(b'{"id": 1}\n')):
        (tmp_path / "broken.gz").write_bytes(broken)
        if broken:
            with pytest.raises(StorageError):
                this.restore(tmp_path / "broken.gz", who="tester")
    with pytest.raises(StorageError, match="cannot be read"):
        this.restore(tmp_path / "missing.gz", who="tester")


def test_explain_and_replay_say_where_a_body_went(harness: Harness, tmp_path: Path) -> None:
    this = harness.application
    path = tmp_path / "bodies.ndjson.gz"
    told = harness.comments("CASE-1")
    noted = next(one for one in attempts(harness, direction="inbound") if one.operation == "incident.annotated")
    this.offloading.export(LATER, path, deletes=True, who="tester")
    report = this.replay.run(this.replay.chosen_by_id([noted.id]))
    assert report.results[0].result is Result.IMPOSSIBLE
    assert path.name in report.results[0].detail and "inbox import" in report.results[0].detail
    assert any(path.name in step.text for step in this.explain.case("CASE-1").steps)
    this.offloading.restore(path, who="tester")
    assert this.replay.run(this.replay.chosen_by_id([noted.id])).results[0].result is Result.QUEUED
    harness.run()
    assert harness.comments("CASE-1") == told
