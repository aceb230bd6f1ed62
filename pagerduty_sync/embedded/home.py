"""The data directory: who may enter it, where the servers keep their files, and the secrets that are made once.

Refuses to change the mode of anything outside its own tree, or to take over a directory that holds other things.
"""

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pagerduty_sync.embedded.account import Account, server_account
from pagerduty_sync.errors import SettingsError

MARKER = ".pagerduty-sync"
# Where servers started by root keep their data when the account they run under cannot enter the data directory, as with
# a checkout below root's home. It survives a restart, unlike /tmp, and is where a package would put it.
FALLBACK = Path("/var/lib/pagerduty-sync-embedded")


@dataclass(frozen=True, slots=True)
class Home:
    """The operator's directory, and the servers' inside it or, if need be, elsewhere."""

    directory: Path
    servers: Path
    account: Account

    def notice(self) -> str | None:
        """The sentence to show when the servers' data is not where one would look for it."""
        if self.servers.parent == self.directory:
            return None
        return (
            f"The servers run as {self.account.name}, who cannot enter {self.directory}, so their data is in "
            f"{self.servers}. To keep it elsewhere, let PAGERDUTY_SYNC_DATA_DIR name a directory {self.account.name} "
            "can enter."
        )

    @classmethod
    def without_servers(cls, directory: Path) -> "Home":
        """The data directory when no server needs a place in it, and hence no other account."""
        directory.chmod(0o700)
        return cls(directory, directory, Account(str(os.getuid()), os.getuid(), os.getgid()))

    def secret(self, name: str, make: Callable[[], str] = lambda: secrets.token_urlsafe(24)) -> str:
        """The secret kept under this name, made the first time it is asked for."""
        path = self.directory / name
        if not path.exists():
            draft = path.with_suffix(f".{os.getpid()}")
            draft.touch(mode=0o600)
            draft.write_text(make() + "\n", encoding="utf-8")
            draft.replace(path)
        return path.read_text(encoding="utf-8").strip()

    def data(self, name: str) -> Path:
        """A directory that belongs to the servers' account; nothing of ours writes into it."""
        path = self.servers / name
        if not path.exists():
            path.mkdir()
            self.account.give(path, 0o700)
        return path

    def hand_over(self, name: str, text: str) -> Path:
        """A file beside the servers' data that their account may read."""
        path, draft = self.servers / name, self.servers / f"{name}.draft"
        draft.unlink(missing_ok=True)
        draft.touch(mode=0o600)
        draft.write_text(text, encoding="utf-8")
        self.account.give(draft, 0o400)
        draft.replace(path)
        return path


def open_directory(directory: Path) -> Path:
    """Create the data directory, or recognise it; raises SettingsError when it is something else's."""
    directory = directory.expanduser().absolute()
    try:
        if directory.exists() and any(directory.iterdir()) and not (directory / MARKER).exists():
            raise SettingsError(
                f"{directory} holds other things; let PAGERDUTY_SYNC_DATA_DIR name a new or an empty directory."
            )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / MARKER).touch(mode=0o600)
        (directory / "log").mkdir(mode=0o700, exist_ok=True)
    except OSError as exc:
        raise SettingsError(
            f"{directory} cannot be used ({exc.strerror}); "
            "let PAGERDUTY_SYNC_DATA_DIR name a directory you may write to."
        ) from exc
    return directory


def open_home(directory: Path, *, fallback: Path = FALLBACK) -> Home:
    """The data directory with a place for the servers that the account they run under can use."""
    directory = open_directory(directory)
    servers = directory / "servers"
    elsewhere = fallback / hashlib.sha256(os.fsencode(directory)).hexdigest()[:12]
    homes = [place / name for place in (servers, elsewhere) for name in ("postgres", "valkey")]
    account = server_account(next((home for home in homes if home.exists()), None))
    account.let_through(directory)
    if not account.can_reach(directory):
        servers = elsewhere
    try:
        if not servers.parent.exists():
            servers.parent.mkdir()
            servers.parent.chmod(0o755)
        servers.mkdir(exist_ok=True)
        account.let_through(servers)
    except OSError as exc:
        raise SettingsError(_no_place(servers, exc.strerror, account)) from exc
    if not account.can_reach(servers):
        raise SettingsError(_no_place(servers, f"{account.name} cannot enter it", account))
    return Home(directory, servers, account)


def _no_place(servers: Path, reason: str | None, account: Account) -> str:
    cure = f"let PAGERDUTY_SYNC_DATA_DIR name a directory that {account.name} can enter"
    return f"{servers} cannot be used ({reason}); {cure}."
