"""Whose name the servers run under: never root's, because PostgreSQL refuses to, and no account is ever created for it.

Only the server's own binary changes accounts. Root's Python may be out of reach for anybody else, so nothing of ours
runs after the change.
"""

import os
import pwd
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from pagerduty_sync.errors import SettingsError

UNPRIVILEGED = ("postgres", "nobody")


class PopenIdentity(TypedDict, total=False):
    """The arguments of `subprocess.Popen` that change accounts."""

    user: int
    group: int
    extra_groups: list[int]


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine."""

    name: str
    uid: int
    gid: int

    def identity(self) -> PopenIdentity:
        """What to pass to `subprocess` so that the child is this account; nothing when we are it already."""
        if self.uid == os.getuid():
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": []}

    def can_reach(self, path: Path, *, flag: str = "-x") -> bool:
        """Whether this account may enter or execute the path, asked of the kernel and not computed from modes."""
        test = subprocess.run(
            ["/bin/sh", "-c", f'test {flag} "$1"', "sh", path], cwd="/", check=False, **self.identity()
        )
        return test.returncode == 0

    def give(self, path: Path, mode: int) -> None:
        """Hand over one file or directory.

        It must stand where this account cannot write, or a link put there would lead root elsewhere.
        """
        path.chmod(mode)
        if self.identity():
            os.chown(path, self.uid, self.gid)

    def let_through(self, directory: Path) -> None:
        """Let this account pass through a directory of ours, in which it can neither list, read nor write."""
        if self.identity():
            os.chown(directory, os.getuid(), self.gid)
            directory.chmod(0o710)
        else:
            directory.chmod(0o700)


def server_account(data: Path | None = None) -> Account:
    """The account for the servers: the owner of the data if there is any, else ourselves, else an unprivileged one.

    Raises SettingsError when the data belongs to somebody we cannot become, or root finds no unprivileged account.
    """
    ourselves = os.getuid()
    owner = data.stat().st_uid if data else None
    if ourselves == 0:
        return _numbered(owner) if owner else _unprivileged()
    if owner not in {None, ourselves}:
        raise SettingsError(
            f"{data} belongs to user {owner}, because root started it first; "
            "start it as root again or let PAGERDUTY_SYNC_DATA_DIR name another directory."
        )
    return _numbered(ourselves)


def _unprivileged() -> Account:
    for name in UNPRIVILEGED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise SettingsError(
        f"PostgreSQL refuses to run as root and this machine has none of the accounts {', '.join(UNPRIVILEGED)}; "
        "start as an ordinary user, or set PAGERDUTY_SYNC_DATABASE_URL and PAGERDUTY_SYNC_REDIS_URL."
    )


def _numbered(uid: int) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise SettingsError(
            f"PostgreSQL needs an account with a name and user {uid} has none in the password file; "
            "set PAGERDUTY_SYNC_DATABASE_URL to a server that runs elsewhere."
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
