"""The web process as it starts on its own, from its environment."""

from __future__ import annotations

import os
import subprocess
import sys

from cryptography.fernet import Fernet

STARTED = """
import gc
from web.app import create_app
app = create_app()
print(gc.get_freeze_count() > len(gc.get_objects()))
print(app.test_client().get("/healthz").status_code)
"""


def test_what_it_starts_with_is_not_looked_through_at_each_collection(database_url, redis_url):
    environment = {
        **os.environ,
        "PAGERDUTY_SYNC_DATABASE_URL": database_url,
        "PAGERDUTY_SYNC_REDIS_URL": redis_url,
        "PAGERDUTY_SYNC_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
    }
    found = subprocess.run(
        [sys.executable, "-c", STARTED], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert found.stdout.splitlines()[-2:] == ["True", "200"], found.stderr
