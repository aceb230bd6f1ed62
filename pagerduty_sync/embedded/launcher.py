"""Bring everything up in order, say how far it is, keep watch, and take everything down in order.

The order is: ports, data directory, servers, migrations, programs, readiness, first configuration. What fails says its
last words and takes the rest down with it.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pagerduty_sync.embedded import postgres, valkey
from pagerduty_sync.embedded.environment import ROOT, complete, control_socket
from pagerduty_sync.embedded.health import check_ports, wait_until_ready, web_address
from pagerduty_sync.embedded.home import Home, open_directory, open_home
from pagerduty_sync.embedded.lock import holder, only_one
from pagerduty_sync.embedded.server import Server, StartError
from pagerduty_sync.embedded.signals import Signals, StopRequest
from pagerduty_sync.embedded.supervision import Control, Supervisor, Watch, tail
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.settings import Settings

PROGRAMS = ("beat", "flower", "worker-inbound", "worker-outbound", "web")

Say = Callable[[str], None]


def run(settings: Settings, env: Mapping[str, str], say: Say, *, rehearsal: bool, root: Path = ROOT) -> None:
    """Run everything until told to stop; `rehearsal` adds the PagerDuty simulator and a first configuration.

    Raises SettingsError before anything was started, StartError after everything was stopped again.
    """
    configuration = root / "deploy" / "supervisor" / "supervisord.conf"
    if not configuration.exists():
        raise SettingsError(f"{configuration} is missing; run this from a checkout of the project.")
    directory = open_directory(settings.data_dir)
    extras = ("simulator",) if rehearsal else ()
    control = Control(control_socket(directory))
    with only_one(directory, control.pid), Signals(say) as signals:
        try:
            check_ports(settings, extras)
            home, servers = _prepare(settings, directory, say)
            completed = complete(env, settings, home, servers, extras, root)
            supervisor = Supervisor(configuration, completed, directory, control)
            try:
                with signals.held():
                    supervisor.start()
                _bring_up(supervisor, servers, (*extras, *PROGRAMS), settings, say)
                if rehearsal:
                    _step(supervisor, "quickstart", say)
                _introduce(settings, directory, say, rehearsal=rehearsal)
                _watch(supervisor, say)
            except StartError as exc:
                say(str(exc).partition("\n")[0])
                raise
            finally:
                signals.hold()
                say("Stopping everything …")
                supervisor.stop(say)
                say("Everything is stopped.")
        except StopRequest:
            return


def stop(settings: Settings, say: Say) -> None:
    """Stop what another process runs on this data directory; raises SettingsError when nothing does."""
    directory = settings.data_dir.expanduser().absolute()
    control = Control(control_socket(directory))
    launcher = holder(directory)
    if launcher:
        os.kill(launcher, signal.SIGTERM)
        while holder(directory) == launcher:
            time.sleep(0.1)
    elif control.pid():
        control.call("shutdown")
        while control.pid():
            time.sleep(0.1)
    else:
        raise SettingsError(f"Nothing is running on {directory}.")
    say("Everything is stopped.")


def _prepare(settings: Settings, directory: Path, say: Say) -> tuple[Home, dict[str, Server]]:
    if settings.database_url and settings.redis_url:
        return Home.without_servers(directory), {}
    home = open_home(directory)
    notice = home.notice()
    if notice:
        say(notice)
    servers = {}
    if not settings.database_url:
        servers["postgres"] = postgres.prepare(home)
    if not settings.redis_url:
        servers["valkey"] = valkey.prepare(home)
    return home, servers


def _bring_up(
    supervisor: Supervisor, servers: Mapping[str, Server], programs: tuple[str, ...], settings: Settings, say: Say
) -> None:
    for name, server in servers.items():
        supervisor.start_server(name, server)
        say(f"{server.name} is up ({server.origin})")
    _step(supervisor, "migrate", say)
    supervisor.start_programs(programs)
    say(f"{', '.join(programs)} are up")
    web = Watch(supervisor.control, "web")
    try:
        wait_until_ready(settings, lambda: web.pid() is not None)
    except StartError as exc:
        raise StartError(f"{exc}\n{supervisor.last_words('web')}") from exc
    say("ready")


def _step(supervisor: Supervisor, command: str, say: Say) -> None:
    """Run one of the project's own commands to its end; raises StartError with its last words."""
    log = supervisor.log(f"{command}.log")
    with log.open("wb") as output:
        done = subprocess.run(
            [sys.executable, "-m", "pagerduty_sync", command],
            env=dict(supervisor.env),
            cwd=supervisor.env["PAGERDUTY_SYNC_ROOT"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            umask=0o077,
            check=False,
        )
    if done.returncode != 0:
        raise StartError(f"`pagerduty-sync {command}` failed:\n{tail(log)}")
    say(f"{command} is done")


def _introduce(settings: Settings, directory: Path, say: Say, *, rehearsal: bool) -> None:
    say("")
    say(f"  Service      {web_address(settings)}")
    if rehearsal:
        say(f"  Simulator    http://127.0.0.1:{settings.simulator_port}   (a PagerDuty to play with)")
    flower = "as set" if settings.flower_basic_auth else f"admin, password in {directory / 'flower-password'}"
    say(f"  Flower       http://127.0.0.1:{settings.flower_port}   ({flower})")
    if rehearsal:
        say(f"  Admin token  in {directory / 'admin-token'}")
    say(f"  Logs         in {directory / 'log'}")
    say("")
    say("Ctrl-C stops everything.")


def _watch(supervisor: Supervisor, say: Say) -> None:
    """Say what was started again, until a signal ends this; raises StartError when supervisord itself is gone."""
    pids = supervisor.pids()
    while supervisor.is_alive():
        time.sleep(1)
        for name, pid in supervisor.pids().items():
            if pids.get(name, pid) != pid:
                say(f"{name} ended and was started again; see {supervisor.log(f'{name}.log')}")
            pids[name] = pid
    if supervisor.ended_in_order():
        return
    supervisor.end_orphans(pids)
    raise StartError(f"supervisord ended unasked.\n{supervisor.last_words('supervisord')}")
