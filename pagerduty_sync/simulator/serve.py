"""Puts a simulator on a port: as a process of its own (gunicorn, one worker, threads), or in a thread of a test."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication  # type: ignore[import-untyped]
from werkzeug.serving import WSGIRequestHandler, make_server

from .app import create_app
from .simulator import Simulator

THREADS = 32


def run(host: str, port: int, state_file: str | None = None, public_base: str | None = None) -> None:
    """Serve until SIGTERM or SIGINT. One worker, because the account lives in its memory."""
    base = public_base or f"http://{f'[{host}]' if ':' in host else host}:{port}"
    _Server(host, port, base, state_file).run()


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, host: str, port: int, public_base: str, state_file: str | None) -> None:
        self._bind = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._public_base, self._state_file = public_base, state_file
        self._simulator: Simulator | None = None
        super().__init__()

    def load_config(self) -> None:
        settings = {
            "bind": self._bind,
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "graceful_timeout": 2,
            "loglevel": "warning",
            "control_socket_disable": True,
            "proc_name": "pagerduty-simulator",
            "worker_exit": lambda server, worker: self._stop(),
        }
        for name, value in settings.items():
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """In the worker, after the fork: threads do not survive one."""
        log_to_stdout()
        app = create_app(public_base=self._public_base, state_file=self._state_file)
        self._simulator = app.extensions["simulator"]
        logging.getLogger(__name__).info("simulator=ready url=%s", self._public_base)
        return app

    def _stop(self) -> None:
        if self._simulator:
            self._simulator.stop()


def log_to_stdout() -> None:
    logger = logging.getLogger(__package__)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False


class _Quiet(WSGIRequestHandler):
    disable_nagle_algorithm = True

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """The simulator logs its own requests."""


@contextmanager
def in_thread(app: Flask, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve the application from threads of this process; yields its base URL, and stops the simulator at the end."""
    simulator: Any = app.extensions["simulator"]
    server = make_server(host, port, app, threaded=True, request_handler=_Quiet)
    url = f"http://{host}:{server.server_port}"
    simulator.shapes.public_base = url
    thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.02), name="simulator", daemon=True)
    thread.start()
    try:
        yield url
    finally:
        server.shutdown()
        server.server_close()
        simulator.stop()
