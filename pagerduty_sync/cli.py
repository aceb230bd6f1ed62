"""The program `pagerduty-sync`: its commands are in `commands`, one module per subject."""

from __future__ import annotations

import click

from pagerduty_sync.commands import (
    cases,
    config,
    configuration,
    connection,
    deliveries,
    doctor,
    explain,
    health,
    inbox,
    links,
    presets,
    quarantine,
    query,
    replay,
    secrets,
    tokens,
    upkeep,
)
from pagerduty_sync.commands.shell import Commands, Shell, quiet_logs


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="pagerduty-sync")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Keep Cases and PagerDuty incidents in step.

    Settings come from PAGERDUTY_SYNC_… variables (deploy/env.example lists them). Without addresses of a database and
    of Redis, the servers that `make run` started in PAGERDUTY_SYNC_DATA_DIR are used.

    Exit codes: 0 done, 1 failed, 2 the command or a setting must change.
    """
    if ctx.obj is None:
        quiet_logs()
        ctx.obj = Shell()
    ctx.call_on_close(ctx.obj.close)


for command in (
    upkeep.migrate,
    upkeep.quickstart,
    upkeep.status,
    upkeep.demo,
    health.health,
    doctor.doctor,
    connection.connect,
    connection.disconnect,
    connection.two_way,
    config.config,
    configuration.connectors,
    configuration.rules,
    presets.presets,
    configuration.routing,
    cases.cases,
    deliveries.deliveries,
    deliveries.link,
    links.sync,
    explain.explain,
    query.query,
    replay.replay,
    quarantine.quarantine,
    inbox.inbox,
    tokens.tokens,
    secrets.secrets,
):
    main.add_command(command)
