"""`connectors`, `rules`, `routing test`: where Cases go."""

from __future__ import annotations

from typing import TextIO

import click

from pagerduty_sync.commands.shell import Commands, Misuse, Shell, pass_shell, table
from pagerduty_sync.domain.cases import Case, CasePriority
from pagerduty_sync.domain.connectors import (
    Connector,
    ConnectorPath,
    Destination,
    Field,
    FieldDirection,
    Integration,
    RoutingRule,
)
from pagerduty_sync.errors import InvalidRequestError, TemplateError
from pagerduty_sync.handlers.rule_changes import CASES
from pagerduty_sync.handlers.templates import case_context, evaluate
from pagerduty_sync.pagerduty.client import BASE_URLS


@click.group(cls=Commands)
def connectors() -> None:
    """Paths to PagerDuty's services."""


@connectors.command("list")
@pass_shell
def list_connectors(shell: Shell) -> None:
    """Every connector with its service and whether it works now."""
    integration = shell.app.integrations.only()
    rows = [
        {
            "name": one.name,
            "path": one.path,
            "service": f"{one.service_name} ({one.service_id})" if one.service_id else "",
            "state": _state(one, integration),
        }
        for one in shell.app.connectors.list_all()
    ]
    columns = {"name": "NAME", "path": "PATH", "service": "SERVICE", "state": "STATE"}
    table(rows, columns, "There are no connectors; `pagerduty-sync connectors add` makes one.")


def _state(connector: Connector, integration: Integration | None) -> str:
    if connector.path is ConnectorPath.SERVICE_KEY:
        return "one-way, by service key"
    if integration is None:
        return "no account"
    direction = "two-way" if integration.is_two_way else "one-way"
    reason = f": {integration.status_reason}" if integration.status_reason else ""
    return f"{direction}, {integration.status}{reason}"


@connectors.command("add")
@click.argument("name")
@click.option("--service", required=True, help="Name or id of the PagerDuty service; `connectors services` lists them.")
@click.option(
    "--direction",
    "directions",
    multiple=True,
    metavar="FIELD=DIRECTION",
    help=f"{', '.join(Field)} = {', '.join(FieldDirection)}; may be repeated. Default: both.",
)
@click.option(
    "--priority",
    "priorities",
    multiple=True,
    metavar="P1=NAME",
    help="Pair a Case priority with one of the account's, by name or id; may be repeated. Default: by name or order.",
)
@pass_shell
def add_connector(
    shell: Shell, name: str, service: str, directions: tuple[str, ...], priorities: tuple[str, ...]
) -> None:
    """Make a bi-directional connector NAME to one service."""
    known = [field.value for field in Field], [direction.value for direction in FieldDirection]
    chosen = {Field(key): FieldDirection(value) for key, value in _pairs(directions, "--direction", *known).items()}
    made = shell.app.configuration.create_connector(
        name, service, who=shell.who, directions=chosen, priority_map=_priority_map(shell, priorities)
    )
    click.echo(f"Connector {made.connector.name} leads to {made.connector.service_name}.")
    for warning in made.warnings:
        click.echo(f"! {warning}")


@connectors.command("add-service-key")
@click.argument("name")
@click.option(
    "--key-file",
    type=click.File(encoding="utf-8"),
    help="File with the service's 32-character key. Default: asked for.",
)
@click.option("--region", help="us, eu, or the address of an Events API. Default: where the integration's account is.")
@pass_shell
def add_service_key_connector(shell: Shell, name: str, key_file: TextIO | None, region: str | None) -> None:
    """Make a one-way connector NAME: Cases and alerts are sent to one service's key, and nothing comes back."""
    key = key_file.read().strip() if key_file else click.prompt("Service key", hide_input=True)
    made = shell.app.service_key_connectors.create_service_key_connector(
        name, who=shell.who, routing_key=key, region=region or _region(shell)
    )
    click.echo(f"Connector {made.name} made. Route to it with `pagerduty-sync rules add`.")


def _region(shell: Shell) -> str:
    """Where the integration's account is: a key of the simulator must not go to the real PagerDuty."""
    integration = shell.app.integrations.only()
    known = {url: name for name, url in BASE_URLS.items()}
    return known.get(integration.base_url, integration.base_url) if integration else "us"


@connectors.command()
@click.argument("query", default="")
@pass_shell
def services(shell: Shell, query: str) -> None:
    """The account's services, or those whose name contains QUERY."""
    rows = [
        {"id": one.id, "name": one.name, "status": one.status}
        for one in shell.app.configuration.services(query or None)
    ]
    table(rows, {"id": "ID", "name": "NAME", "status": "STATUS"}, "No service has that in its name.")


@click.group(cls=Commands)
def rules() -> None:
    """Which Case goes through which connector."""


@rules.command("list")
@pass_shell
def list_rules(shell: Shell) -> None:
    """Every routing rule in order."""
    names = {one.id: one.name for one in shell.app.connectors.list_all()}
    rows = [
        {
            "name": rule.name,
            "source": rule.source,
            "state": "on" if rule.is_enabled else "off",
            "kind": "fallback" if rule.is_fallback else "",
            "to": ", ".join(names.get(each.connector_id, "?") for each in rule.destinations),
            "condition": rule.condition,
        }
        for rule in shell.app.routing.rules()
    ]
    columns = {"name": "NAME", "source": "FOR", "state": "STATE", "kind": "KIND", "to": "TO", "condition": "CONDITION"}
    table(rows, columns, "There are no rules, so no Case opens an incident; `pagerduty-sync rules add` makes one.")


@rules.command("add")
@click.argument("name")
@click.option(
    "--if",
    "condition",
    default="true",
    show_default=True,
    help='When it fires, such as: case.priority in ["P1", "P2"] and "payments" in case.labels.team',
)
@click.option("--to", "to", multiple=True, required=True, metavar="CONNECTOR", help="Where to; may be repeated.")
@click.option("--preset", help="How the Case reads as an incident. Default: the built-in preset.")
@click.option(
    "--source",
    type=click.Choice(["cases", "alerts"]),
    default="cases",
    show_default=True,
    help="What the rule is about.",
)
@click.option("--fallback", is_flag=True, help="Fire only when no other rule does.")
@click.option("--disabled", is_flag=True, help="Make it, but switched off.")
@pass_shell
def add_rule(
    shell: Shell,
    name: str,
    condition: str,
    to: tuple[str, ...],
    preset: str | None,
    source: str,
    fallback: bool,
    disabled: bool,
) -> None:
    """Make a routing rule NAME, behind all others.

    All true rules fire. A Case opens at most one incident: the first rule's, in the order of `rules list`.
    """
    chosen = shell.app.routing.preset_by_name(preset) if preset else None
    if preset and chosen is None:
        raise InvalidRequestError(f"There is no preset {preset}; `pagerduty-sync presets list` names them.", "preset")
    destinations = [Destination(_connector_id(shell, each), chosen.id if chosen else "") for each in to]
    wanted = RoutingRule("", name, source, condition, destinations, is_enabled=not disabled, is_fallback=fallback)
    rule = shell.app.rule_changes.create(wanted, who=shell.who)
    click.echo(f"Rule {rule.name} sends {rule.source} to {', '.join(to)} when {rule.condition}.")


def _connector_id(shell: Shell, name: str) -> str:
    connector = shell.app.connectors.by_name(name)
    if connector is None:
        raise InvalidRequestError(f"There is no connector {name}; `pagerduty-sync connectors list` names them.", "to")
    return connector.id


@click.group(cls=Commands)
def routing() -> None:
    """Try the rules."""


@routing.command()
@click.argument("case")
@pass_shell
def test(shell: Shell, case: str) -> None:
    """Which rules CASE matches and where its incident would be opened. Changes nothing."""
    found = shell.app.cases.get_case(case)
    context = case_context(found, f"{shell.settings.public_url}/cases/{found.name}")
    for rule in shell.app.routing.rules(CASES):
        click.echo(_verdict(rule, context))
    match = shell.app.router.match(found)
    if match.connector is None:
        click.echo(f"{_name(found)} goes nowhere.")
        return
    click.echo(f"{_name(found)} opens its incident through {match.connector.name} ({match.connector.service_name}).")
    for other in match.passed_over:
        click.echo(f"  passed over, because a Case opens one incident: {other}")


def _verdict(rule: RoutingRule, context: dict[str, object]) -> str:
    kind = ", fallback" if rule.is_fallback else ""
    if not rule.is_enabled:
        return f"– {rule.name}{kind}: switched off"
    try:
        return f"{'✓' if evaluate(rule.condition, context) else '✗'} {rule.name}{kind}: {rule.condition}"
    except TemplateError as exc:
        return f"! {rule.name}{kind}: {rule.condition} cannot be evaluated: {exc}"


def _name(case: Case) -> str:
    return f"{case.name} ({case.status}, {case.priority})"


def _priority_map(shell: Shell, given: tuple[str, ...]) -> dict[CasePriority, str] | None:
    if not given:
        return None
    integration = shell.app.integrations.only()
    ids = {one.name: one.id for one in reversed(integration.priorities)} if integration else {}
    pairs = _pairs(given, "--priority", [priority.value for priority in CasePriority], None)
    return {CasePriority(key): ids.get(value, value) for key, value in pairs.items()}


def _pairs(given: tuple[str, ...], option: str, keys: list[str], values: list[str] | None) -> dict[str, str]:
    """KEY=VALUE options as a mapping; raises Failure for what is none."""
    pairs = {}
    for text in given:
        key, _, value = text.partition("=")
        if key not in keys or not value or (values is not None and value not in values):
            allowed = f"{'|'.join(keys)}={'|'.join(values) if values else '…'}"
            raise Misuse(f"{option} {text} is not of the form {allowed}.")
        pairs[key] = value
    return pairs
