"""Webhook bodies moved from the inbox into a file, one JSON object a line, gzip; and back, when somebody needs them.

A body is taken out of the database only when it has been read back from the file on the disk. A crash on the way leaves
a file too many, and never a body too few.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from pagerduty_sync.errors import InvalidRequestError, StorageError
from pagerduty_sync.stores.audit import Audit
from pagerduty_sync.stores.inbox_bodies import InboxBodies, StoredBody

BATCH = 500


@dataclass(frozen=True, slots=True)
class Exported:
    """The file, None where there was nothing to write; how many bodies are in it, and left the database."""

    path: Path | None
    written: int
    cleared: int


@dataclass(frozen=True, slots=True)
class Imported:
    """How many bodies were in a file, and came back: those of rows that are still there without."""

    read: int
    restored: int


class Offloading:
    def __init__(self, bodies: InboxBodies, audit: Audit) -> None:
        self._bodies = bodies
        self._audit = audit

    def export(self, before: datetime, to: Path, *, deletes: bool, who: str) -> Exported:
        """Write the bodies of what was handled and received by then into a new file, `to` or in the directory `to`.

        With `deletes` they leave the database. Raises InvalidRequestError for a file that is there already,
        StorageError for one that cannot be written.
        """
        path = to / f"inbox-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.ndjson.gz" if to.is_dir() else to
        if path.exists():
            raise InvalidRequestError(f"{path} is there already.", "to")
        written = self._write(path, before)
        if not written:
            return Exported(None, 0, 0)
        cleared = sum(self._bodies.clear(batch, path.name) for batch in _batches(path)) if deletes else 0
        told = {"file": path.name, "before": before.isoformat(), "written": written, "cleared": cleared}
        self._audit.add(None, who, "export", "inbox", None, told)
        return Exported(path, written, cleared)

    def restore(self, path: Path, *, who: str) -> Imported:
        """Bring the bodies of a file back; raises StorageError for a file that cannot be read to its end."""
        read = restored = 0
        for batch in _batches(path):
            read += len(batch)
            restored += self._bodies.restore(batch)
        self._audit.add(None, who, "import", "inbox", None, {"file": path.name, "read": read, "restored": restored})
        return Imported(read, restored)

    def _write(self, path: Path, before: datetime) -> int:
        """How many bodies are in the file, which is there, whole and on the disk, unless that is none."""
        draft, count, last = path.with_name(f"{path.name}.part"), 0, 0
        with _told_of(path, "written"):
            with open(draft, "wb", opener=_private) as file:
                with gzip.GzipFile(fileobj=file, mode="wb") as packed:
                    while batch := self._bodies.of_handled(before, after_id=last, limit=BATCH):
                        packed.write(b"".join(_line(one) for one in batch))
                        count, last = count + len(batch), batch[-1].id
                file.flush()
                os.fsync(file.fileno())
            if not count:
                draft.unlink()
                return 0
            draft.rename(path)
            directory = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        return count


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _line(one: StoredBody) -> bytes:
    """A body that is text stays readable."""
    record = asdict(one) | {"received_at": one.received_at.isoformat()}
    try:
        record["body"] = one.body.decode()
    except UnicodeDecodeError:
        record["body_base64"] = base64.b64encode(record.pop("body")).decode()
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def _stored(line: bytes) -> StoredBody:
    record: dict[str, Any] = json.loads(line)
    encoded = record.pop("body_base64", None)
    body = record.pop("body").encode() if encoded is None else base64.b64decode(encoded, validate=True)
    return StoredBody(**{**record, "body": body, "received_at": datetime.fromisoformat(record["received_at"])})


def _batches(path: Path) -> Iterator[list[StoredBody]]:
    """What a file holds; raises StorageError where it ends early or holds something else."""
    with _told_of(path, "read"), gzip.open(path) as file:
        while batch := [_stored(line) for line in islice(file, BATCH)]:
            yield batch


@contextmanager
def _told_of(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise StorageError(f"{path} cannot be {what}: {exc.strerror or exc}.") from exc
    except (EOFError, zlib.error, ValueError, KeyError, TypeError, AttributeError) as exc:
        raise StorageError(f"{path} is not a whole file of webhooks.") from exc
