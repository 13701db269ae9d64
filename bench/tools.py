"""The measured tools: how each makes a repository, backs up, restores, and how large its repository is.

Every tool encrypts and otherwise runs with its own default settings. Each gets a fresh home folder, caches and
temporary folder of its own, so nothing of the user's configuration plays a part.
"""

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.measure import Command
from bench.place import PASSPHRASE, Job, Place, RepositorySize, folder_size

DEBIAN_FOLDER = Path("/usr/bin")
PEERS_VARIABLE = "FARKEEP_PEERS"


class Tool(ABC):
    """One backup program; `variables` are the environment variables only it reads, as templates of a `place`."""

    name: str
    version_argument = "version"
    variables: Mapping[str, str] = {}

    def __init__(self, program: Path, name: str | None = None) -> None:
        self.program = program
        self.name = name or self.name

    def command(self, place: Place, *arguments: str | Path, folder: Path = Path("/")) -> Command:
        """Return the program with `arguments` in an environment that knows only `place`."""
        environment = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "LANG": "C.UTF-8",
            "HOME": str(place.home),
            "XDG_CACHE_HOME": str(place.home / ".cache"),
            "XDG_CONFIG_HOME": str(place.home / ".config"),
            "TMPDIR": str(place.scratch),
            **{key: value.format(place=place) for key, value in self.variables.items()},
        }
        return Command((str(self.program), *map(str, arguments)), environment, folder)

    def version(self, place: Place) -> Command:
        """Return the command that prints the tool's version."""
        return self.command(place, self.version_argument)

    def restored_root(self, job: Job) -> Path:
        """Return where the content of the job's source lies after its restore."""
        return job.target

    def repository_size(self, place: Place) -> RepositorySize:
        """Return the size of the repository in `place`."""
        return folder_size(place.repository)

    @abstractmethod
    def initialise(self, place: Place) -> Command:
        """Return the command that makes an empty encrypted repository."""

    @abstractmethod
    def backup(self, job: Job) -> Command:
        """Return the command that backs the job's source up."""

    @abstractmethod
    def restore(self, job: Job) -> Command:
        """Return the command that restores the job's backup, the newest one, into its target."""


class Farkeep(Tool):
    """The installed farkeep script; its index is a cache, so it counts apart."""

    name = "farkeep"

    def command(self, place: Place, *arguments: str | Path, folder: Path = Path("/")) -> Command:
        return super().command(place, "--home", place.repository, *arguments, folder=folder)

    def initialise(self, place: Place) -> Command:
        return self.command(place, "init", "--site", "bench", "--recovery-out", place.root / "recovery")

    def backup(self, job: Job) -> Command:
        return self.command(job.place, "backup", job.source, "--name", "bench", "--json")

    def restore(self, job: Job) -> Command:
        return self.command(job.place, "restore", f"latest:{job.source}", "--to", job.target, "--json")

    def repository_size(self, place: Place) -> RepositorySize:
        whole = folder_size(place.repository)
        index = folder_size(place.repository / "index")
        # Room that is kept for a full disk is no part of what is stored: it is given back when it is needed.
        reserve = place.repository / "reserve"
        kept_bytes = reserve.stat().st_size if reserve.exists() else 0
        return RepositorySize(
            whole.content_bytes - index.content_bytes - kept_bytes,
            whole.allocated_bytes - index.allocated_bytes - kept_bytes,
            index.content_bytes,
        )


class Restic(Tool):
    """restic, with scrypt and zstd as it comes."""

    name = "restic"
    variables = {"RESTIC_REPOSITORY": "{place.repository}", "RESTIC_PASSWORD_FILE": "{place.passphrase_file}"}

    def initialise(self, place: Place) -> Command:
        return self.command(place, "init")

    def backup(self, job: Job) -> Command:
        return self.command(job.place, "backup", job.source)

    def restore(self, job: Job) -> Command:
        return self.command(job.place, "restore", "latest", "--target", job.target)

    def restored_root(self, job: Job) -> Path:
        return job.path_below_target


class Borg(Tool):
    """Borg with its usual mode, the key kept in the repository; lz4 as it comes."""

    name = "borg"
    version_argument = "--version"
    variables = {"BORG_REPO": "{place.repository}", "BORG_BASE_DIR": "{place.home}", "BORG_PASSPHRASE": PASSPHRASE}

    def initialise(self, place: Place) -> Command:
        return self.command(place, "init", "--encryption", "repokey-blake2")

    def backup(self, job: Job) -> Command:
        return self.command(job.place, "create", f"::{job.label}", job.source)

    def restore(self, job: Job) -> Command:
        return self.command(job.place, "extract", f"::{job.label}", folder=job.target)

    def restored_root(self, job: Job) -> Path:
        return job.path_below_target


class Rustic(Tool):
    """rustic, which reads and writes restic's format."""

    name = "rustic"
    version_argument = "--version"
    variables = {"RUSTIC_REPOSITORY": "{place.repository}", "RUSTIC_PASSWORD_FILE": "{place.passphrase_file}"}

    def initialise(self, place: Place) -> Command:
        return self.command(place, "init")

    def backup(self, job: Job) -> Command:
        return self.command(job.place, "backup", job.source)

    def restore(self, job: Job) -> Command:
        return self.command(job.place, "restore", f"latest:{job.source}", job.target)


class Kopia(Tool):
    """Kopia with a repository in a local folder; its update check is off, there is nothing to ask."""

    name = "kopia"
    version_argument = "--version"
    variables = {
        "KOPIA_PASSWORD": PASSPHRASE,
        "KOPIA_CHECK_FOR_UPDATES": "false",
        "KOPIA_CONFIG_PATH": "{place.root}/kopia.config",
    }

    def initialise(self, place: Place) -> Command:
        return self.command(place, "repository", "create", "filesystem", "--path", place.repository)

    def backup(self, job: Job) -> Command:
        return self.command(job.place, "snapshot", "create", job.source)

    def restore(self, job: Job) -> Command:
        return self.command(job.place, "restore", job.source, job.target)


TOOL_NAMES = ("farkeep", "restic", "restic-new", "borg", "borg-new", "rustic", "kopia")


def find_tools(names: Sequence[str], farkeep: Path, environment: Mapping[str, str]) -> tuple[list[Tool], list[str]]:
    """Return the tools of `names` that this machine has, in that order, and the names of those it lacks.

    `restic` and `borg` are Debian's; the newest ones come from the folder $FARKEEP_PEERS or else from PATH.
    """
    found: list[Tool] = []
    missing: list[str] = []
    for name in names:
        tool = _find_tool(name, farkeep, environment)
        if tool is None:
            missing.append(name)
        else:
            found.append(tool)
    return found, missing


def _find_tool(name: str, farkeep: Path, environment: Mapping[str, str]) -> Tool | None:
    classes: dict[str, type[Tool]] = {"restic": Restic, "borg": Borg, "rustic": Rustic, "kopia": Kopia}
    kind = name.removesuffix("-new")
    if name == "farkeep":
        return Farkeep(farkeep) if os.access(farkeep, os.X_OK) else None
    if name in ("restic", "borg"):
        program: Path | None = DEBIAN_FOLDER / name
    else:
        program = _find_newest(kind, environment)
    if program is None or not os.access(program, os.X_OK):
        return None
    return classes[kind](program, name)


def _find_newest(kind: str, environment: Mapping[str, str]) -> Path | None:
    peers = environment.get(PEERS_VARIABLE)
    folders = ([peers] if peers else []) + environment.get("PATH", "").split(os.pathsep)
    debian = (DEBIAN_FOLDER / kind).resolve()
    for folder in filter(None, folders):
        program = shutil.which(kind, path=folder)
        if program and Path(program).resolve() != debian:
            return Path(program).absolute()
    return None
