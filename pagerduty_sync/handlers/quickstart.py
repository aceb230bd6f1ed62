"""A first configuration that works: one account, one connector, one rule, one token. Running it twice is once.

It goes the way an operator's own set-up goes, through the same use cases. What an operator has made is left alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from pagerduty_sync.domain.connectors import ConnectorPath, Destination, Integration, RoutingRule
from pagerduty_sync.domain.permissions import ALL
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.handlers.configuration import Configuration
from pagerduty_sync.handlers.connection import Connection
from pagerduty_sync.handlers.health import Health
from pagerduty_sync.handlers.rule_changes import CASES, RuleChanges
from pagerduty_sync.stores.connectors import Connectors
from pagerduty_sync.stores.integrations import Integrations
from pagerduty_sync.stores.routing import Routing
from pagerduty_sync.stores.tokens import Tokens

WHO = "quickstart"
RULE_NAME = "Every Case"
TOKEN_NAME = "admin (made at the first start)"  # noqa: S105 a name, no token
TOKEN_FILE = "admin-token"  # noqa: S105 a file's name

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class FirstAccount:
    """The account to begin with, and which of its services."""

    name: str
    base_url: str
    api_key: str = field(repr=False)
    email: str
    service: str


class Quickstart:
    """The use case `run`, and the steps an operator may want alone."""

    def __init__(
        self,
        *,
        connection: Connection,
        health: Health,
        configuration: Configuration,
        rules: RuleChanges,
        integrations: Integrations,
        connectors: Connectors,
        routing: Routing,
        tokens: Tokens,
    ) -> None:
        self._connection = connection
        self._health = health
        self._configuration = configuration
        self._rules = rules
        self._integrations = integrations
        self._connectors = connectors
        self._routing = routing
        self._tokens = tokens

    def run(self, account: FirstAccount, data_dir: Path, say: Say) -> None:
        """Make what is missing and say what was made; raises any SyncError of the steps."""
        token_file = self.ensure_admin_token(data_dir, say)
        self._routing.ensure_builtin_presets()
        integration = self._connected(account, say)
        if integration.base_url == account.base_url and not self._connectors.list_all():
            made = self._configuration.create_connector(account.service, account.service, who=WHO)
            say(f"connector {made.connector.name} made")
        paths = [one for one in self._connectors.list_all() if one.path is ConnectorPath.BIDIRECTIONAL]
        if paths and not self._routing.rules(CASES):
            everything = RoutingRule("", RULE_NAME, CASES, "true", [Destination(paths[0].id, "")])
            rule = self._rules.create(everything, who=WHO)
            say(f"routing rule {rule.name} made: every Case goes to {paths[0].name}")
        say(f"the admin token is in {token_file}")

    def ensure_admin_token(self, data_dir: Path, say: Say) -> Path:
        """The file with a token that may do everything, written unless it holds a live one; raises SettingsError."""
        path = data_dir.expanduser() / TOKEN_FILE
        try:
            if path.exists():
                path.chmod(0o600)
                if self._tokens.find(path.read_text(encoding="utf-8", errors="replace").strip()):
                    return path
            _, clear = self._tokens.create(TOKEN_NAME, ALL)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_private(path, clear)
        except OSError as exc:
            raise SettingsError(
                f"{path} cannot be written ({exc.strerror}); let PAGERDUTY_SYNC_DATA_DIR name a directory you may "
                "write to."
            ) from exc
        say("admin token made")
        return path

    def _connected(self, account: FirstAccount, say: Say) -> Integration:
        """The account connected, unless one is already; ours is mended when its address or ours has moved."""
        known = self._integrations.only()
        if known is not None and known.name != account.name:
            say(f"the integration {known.name} is left as it is")
            return known
        if known is not None and known.base_url == account.base_url:
            self._health.check_key(known.id)
            for action in self._health.check_subscription(known.id).actions:
                say(action)
            return known
        report = self._connection.connect(
            name=account.name,
            api_key=account.api_key,
            email=account.email,
            region=account.base_url,
            is_two_way=True,
            consent=True,
            who=WHO,
            say=say,
        )
        for sentence in (*report.done, *report.warnings):
            say(sentence)
        if report.problem:
            say(f"the integration is degraded: {report.problem}")
        return report.integration


def _write_private(path: Path, text: str) -> None:
    """Write a file nobody else can read, whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text + "\n")
    draft.replace(path)
