"""A worker with our settings and a task that writes down when it ran; `GUARD=off` takes the broker guard away again."""

import os
import time
from pathlib import Path

from celery import Celery
from kombu import transport

from pagerduty_sync.settings import Settings
from tasks.app import configuration

if os.environ.get("GUARD") == "off":
    # Importing our app has put it there.
    transport.TRANSPORT_ALIASES["redis"] = "kombu.transport.redis:Transport"
    transport._transport_cache.clear()

app = Celery("broker_loss")
app.conf.update(configuration(Settings.from_environment()))
app.conf.broker_transport_options |= {"visibility_timeout": 6, "unacked_restore_interval": 1}


@app.task(name="broker_loss.record")
def record(name: str, seconds: float) -> None:
    _write(f"started {name}")
    time.sleep(seconds)
    _write(f"done {name}")


def _write(line: str) -> None:
    with Path(os.environ["RECORD"]).open("a") as file:
        file.write(line + "\n")
