"""The peer of the load generator: wrk, an HTTP benchmark in C with an event loop of its own.

It is taken from PATH, or from MLSYS_WRK; on Debian and its kin the package is fetched and unpacked
into a temporary folder, not installed. Elsewhere the comparison is reported as absent.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_PACKAGES = ("wrk", "libluajit-5.1-2", "libluajit-5.1-common")
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True)
class Wrk:
    """A wrk that runs, and what it says of itself."""

    path: str
    environment: Mapping[str, str]
    version: str


@dataclass(frozen=True)
class Seen:
    """What wrk printed: rate in 1/s, percentiles in s, and how many requests failed."""

    rate: float
    percentiles: Mapping[float, float]
    failed: int


def find_wrk(folder: Path) -> Wrk | None:
    """wrk, fetched into the folder if need be; None when it cannot be had here."""
    found = os.environ.get("MLSYS_WRK") or shutil.which("wrk")
    if found:
        return _that_runs(found, dict(os.environ))
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        return None
    fetched = subprocess.run(
        ["apt-get", "download", *_PACKAGES], cwd=folder, capture_output=True, timeout=120
    )
    if fetched.returncode:
        return None
    for package in folder.glob("*.deb"):
        subprocess.run(["dpkg-deb", "-x", package, folder / "root"], check=True, timeout=60)
    libraries = {str(path.parent) for path in (folder / "root").rglob("*.so*")}
    environment = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))}
    return _that_runs(str(folder / "root/usr/bin/wrk"), environment)


def run_wrk(wrk: Wrk, url: str, *, connections: int, seconds: int) -> Seen:
    """One thread of wrk with so many connections that wait for each answer, as it always does."""
    command = [wrk.path, "--threads", "1", "--connections", str(connections)]
    command += ["--duration", f"{seconds}s", "--timeout", "5s", "--latency", url]
    done = subprocess.run(
        command, env=wrk.environment, capture_output=True, text=True, timeout=seconds + 30
    )
    if done.returncode:
        raise RuntimeError(f"wrk failed: {done.stderr.strip() or done.stdout.strip()}")
    return read(done.stdout)


def read(printed: str) -> Seen:
    """The figures in what wrk prints."""
    percentiles = {
        float(percent): float(value) * _UNITS[unit]
        for percent, value, unit in re.findall(
            r"^\s+(50|75|90|99)%\s+([\d.]+)(us|ms|s|m)$", printed, re.M
        )
    }
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", printed, re.M)
    if rate is None or len(percentiles) != 4:
        raise RuntimeError(f"wrk printed something else than expected: {printed[:200]!r}")
    failed = 0
    if bad := re.search(r"Non-2xx or 3xx responses: (\d+)", printed):
        failed += int(bad[1])
    if bad := re.search(r"Socket errors: (.*)", printed):
        failed += sum(int(number) for number in re.findall(r"\d+", bad[1]))
    return Seen(float(rate[1]), percentiles, failed)


def _that_runs(path: str, environment: dict[str, str]) -> Wrk | None:
    try:
        said = subprocess.run(
            [path, "-v"], env=environment, capture_output=True, text=True, timeout=20
        )
    except OSError:
        return None
    first = (said.stdout + said.stderr).strip().splitlines()[:1]
    return Wrk(path, environment, " ".join(first[0].split()[:2])) if first else None
