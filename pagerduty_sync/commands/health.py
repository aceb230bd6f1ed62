"""`health`: one state per leg, for people and as a check that alerts."""

from __future__ import annotations

import json
from typing import Any

import click

from pagerduty_sync.commands.shell import Failure, Shell, pass_shell, table
from pagerduty_sync.domain.legs import WELL
from pagerduty_sync.handlers.legs import Condition

COLUMNS = {"leg": "LEG", "state": "STATE", "since": "SINCE (UTC)", "why": "WHY"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_shell
def health(shell: Shell, as_json: bool) -> None:
    """How each leg is: inbound (from PagerDuty), outbound (to PagerDuty) and the Case system.

    \b
    working   everything gets through within seconds
    degraded  it gets through, but late, or not all of it
    stopped   nothing gets through until somebody mends it
    off       switched off or never set up
    unknown   nobody has looked for a minute

    Exit code 0 when every leg is working or off, else 1, so that it can be an alert's check.
    """
    found = shell.app.leg_watch.condition()
    if as_json:
        click.echo(json.dumps(_as_json(found), ensure_ascii=False))
    else:
        _show(found)
    unwell = [one.leg.value for one in found.legs if one.state not in WELL]
    if unwell:
        raise Failure(f"Not as it should be: {', '.join(unwell)}.")


def _as_json(found: Condition) -> dict[str, Any]:
    legs = [
        {
            "leg": one.leg.value,
            "state": one.state.value,
            "why": one.why,
            "since": one.since.isoformat() if one.since else None,
            "looked_at": one.looked_at.isoformat() if one.looked_at else None,
        }
        for one in found.legs
    ]
    healed = {"last_hour": found.healed.last_hour, "last_day": found.healed.last_day}
    return {"is_well": found.is_well, "legs": legs, "healed": healed}


def _show(found: Condition) -> None:
    rows = [
        {
            "leg": one.leg.value.replace("_", " "),
            "state": one.state.value,
            "since": f"{one.since:%Y-%m-%d %H:%M:%S}" if one.since else "",
            "why": one.why,
        }
        for one in found.legs
    ]
    table(rows, COLUMNS, "")
    click.echo(
        f"Healed, as no webhook had told of it: {found.healed.last_hour} in the last hour, "
        f"{found.healed.last_day} in the last day."
    )
