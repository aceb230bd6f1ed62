"""The wired application, as the views reach it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flask import current_app

if TYPE_CHECKING:
    from pagerduty_sync.bootstrap import Application

EXTENSION = "pagerduty_sync"


def application() -> Application:
    """The application behind the current request."""
    return cast("Application", current_app.extensions[EXTENSION])
