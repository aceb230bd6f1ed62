"""`tokens`: who may use the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from pagerduty_sync.commands.shell import Commands, Shell, pass_shell, table
from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.domain.tokens import Token
from pagerduty_sync.errors import InvalidRequestError, NotFoundError


@click.group(cls=Commands)
def tokens() -> None:
    """Tokens for the API, sent as `Authorization: Bearer …`."""


@tokens.command()
@click.argument("name")
@click.option(
    "--permission",
    "permissions",
    multiple=True,
    metavar="PERMISSION",
    help=f"May be repeated. One of {', '.join(sorted(ALL))}.",
)
@click.option("--all", "everything", is_flag=True, help="Every permission there is.")
@click.option("--days", type=click.IntRange(1, 3650), help="For how long it is good. Default: until it is revoked.")
@pass_shell
def create(shell: Shell, name: str, permissions: tuple[str, ...], everything: bool, days: int | None) -> None:
    """Make a token NAME. It is shown once, on standard output, and cannot be read again."""
    if everything and permissions:
        raise InvalidRequestError("Give either --all or --permission.", "permissions")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    token, clear = shell.app.tokens.create(name, ALL if everything else permissions, expires_at)
    facts = {"permissions": sorted(token.permissions), "expires_at": str(expires_at) if expires_at else None}
    shell.app.audit.add(None, shell.who, "create", f"token {token.prefix}", None, facts)
    click.echo(f"Token {token.name} ({token.prefix}), shown only now:", err=True)
    click.echo(clear)


@tokens.command("list")
@pass_shell
def list_tokens(shell: Shell) -> None:
    """Every token, also those that are over."""
    rows = [
        {
            "prefix": token.prefix,
            "name": token.name,
            "state": _state(token),
            "created": f"{token.created_at:%Y-%m-%d %H:%M}",
            "used": f"{token.last_used_at:%Y-%m-%d %H:%M}" if token.last_used_at else "never",
            "permissions": "all" if token.permissions == ALL else " ".join(sorted(token.permissions)),
        }
        for token in shell.app.tokens.list_all()
    ]
    columns = {
        "prefix": "PREFIX",
        "name": "NAME",
        "state": "STATE",
        "created": "CREATED (UTC)",
        "used": "LAST USED (UTC)",
        "permissions": "PERMISSIONS",
    }
    table(rows, columns, "There are no tokens; `pagerduty-sync tokens create` makes one.")


@tokens.command()
@click.argument("token")
@pass_shell
def revoke(shell: Shell, token: str) -> None:
    """End a token for good. TOKEN is its prefix or id."""
    found = [one for one in shell.app.tokens.list_all() if token in (one.prefix, one.id)]
    if not found:
        raise NotFoundError("There is no token with that prefix or id.")
    revoked = shell.app.tokens.revoke(found[0].id)
    shell.app.audit.add(None, shell.who, "revoke", f"token {revoked.prefix}")
    click.echo(f"Token {revoked.name} ({revoked.prefix}) is revoked.")


def _state(token: Token) -> str:
    if token.revoked_at:
        return "revoked"
    if token.expires_at and token.expires_at <= datetime.now(UTC):
        return "expired"
    return f"until {token.expires_at:%Y-%m-%d}" if token.expires_at else "live"
