"""The Celery app reads its environment late, and says what is missing as often as it is asked."""

import subprocess
import sys

import pytest
from celery import Celery

from pagerduty_sync.errors import SettingsError
from tasks.app import QUEUES, Loader, Requirements, app


@pytest.fixture
def a_new_app() -> Celery:
    return Celery("new", loader=Loader, set_as_current=False)


def test_importing_the_app_needs_no_environment() -> None:
    subprocess.run([sys.executable, "-c", "import tasks.app"], env={}, check=True)


def test_without_a_broker_s_address_every_use_says_so(a_new_app: Celery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PAGERDUTY_SYNC_REDIS_URL", raising=False)
    for _ in range(2):
        with pytest.raises(SettingsError, match="PAGERDUTY_SYNC_REDIS_URL"):
            _ = a_new_app.conf.broker_url
    monkeypatch.setenv("PAGERDUTY_SYNC_REDIS_URL", "redis://:pw@127.0.0.1:1/0")
    assert a_new_app.conf.broker_url == "redis://:pw@127.0.0.1:1/0"
    assert {queue.name for queue in a_new_app.conf.task_queues} == set(QUEUES)


@pytest.mark.parametrize("missing", ["PAGERDUTY_SYNC_DATABASE_URL", "PAGERDUTY_SYNC_ENCRYPTION_KEYS"])
def test_a_worker_that_could_do_nothing_does_not_start(
    a_new_app: Celery, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setenv("PAGERDUTY_SYNC_DATABASE_URL", "postgresql://127.0.0.1:1/none")
    monkeypatch.setenv("PAGERDUTY_SYNC_ENCRYPTION_KEYS", "A" * 43 + "=")
    Requirements(a_new_app)
    monkeypatch.delenv(missing)
    with pytest.raises(SettingsError, match=missing):
        Requirements(a_new_app)


def test_every_task_of_ours_has_a_name_of_its_own_and_a_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAGERDUTY_SYNC_REDIS_URL", "redis://127.0.0.1:1/0")
    app.loader.import_default_modules()
    ours = {name for name in app.tasks if not name.startswith("celery.")}
    assert ours
    for name in ours:
        assert name.startswith("pagerduty_sync.")
        assert name in app.conf.task_routes
