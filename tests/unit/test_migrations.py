"""What has been applied somewhere stays as it was: an installation refuses to go on over a changed migration."""

from __future__ import annotations

import hashlib

from pagerduty_sync.stores.database import migrations

APPLIED = {
    "0001_initial.sql": "e03d4d2a5eaa18c4",
    "0002_notifications.sql": "bc03532a1571ab1f",
    "0003_replay.sql": "668fa26b75d8e4cb",
    "0004_legs.sql": "2e7b3fd7972094b0",
    "0005_reader_and_archive.sql": "3fc58fa8efb96e56",
    "0006_asks.sql": "346b2bfcee2be338",
    "0007_readings.sql": "bc2e63d9bb86e1f2",
    "0008_case_state_updates.sql": "75c241509a40da70",
    "0009_log_in_order.sql": "326b3296d2d46bf6",
    "0010_unacknowledged_cases.sql": "b3c05464ffd47ca4",
}
"""The beginning of each file's SHA-256. A new file gets a line of its own; a line that stands is never changed."""


def test_no_migration_changes_once_it_is_out():
    found = {name: hashlib.sha256(script).hexdigest()[:16] for name, script in migrations()}
    assert found == APPLIED
