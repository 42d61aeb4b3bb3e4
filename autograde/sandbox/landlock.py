"""Landlock: a process gives up, for itself and all it starts, every file but the listed ones, every
TCP port, and signals and abstract sockets to the outside. Needs no privileges; Linux 5.13, and 6.12
for the last two. (Documentation/userspace-api/landlock.rst of the kernel.)
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from autograde.sandbox import kernel

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_TRUNCATE, _IOCTL = 1 << 14, 1 << 15
_READ = _EXECUTE | _READ_FILE | _READ_DIR
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL
_RIGHTS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}  # how many bits of rights over files
_NEVER = (1 << 6) | (1 << 11)  # devices are not made


def abi() -> int:
    """The kernel's version of Landlock; 0 where there is none. Red Hat's 9.7 says 6 and takes no
    more than 4, so the version counts that makes a ruleset.
    """
    if not kernel.LINUX:
        return 0
    try:
        version = kernel.syscall(_CREATE, 0, 0, 1, what="landlock")
    except OSError:
        return 0
    while version > 0:
        try:
            os.close(_ruleset(version, network=False))
            return version
        except OSError:
            version -= 1
    return 0


def _ruleset(version: int, *, network: bool) -> int:
    """A new ruleset that forbids all that this version can; its descriptor."""
    tcp = 3 if version >= 4 and not network else 0
    scoped = 3 if version >= 6 else 0
    attributes = struct.pack("<QQQ", _everything(version), tcp, scoped)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    return kernel.syscall(_CREATE, attributes[:size], size, 0, what="landlock ruleset")


def _everything(version: int) -> int:
    return (1 << _RIGHTS_BY_ABI[min(version, 5)]) - 1


def restrict(
    readable: Iterable[Path],
    writable: Iterable[Path],
    devices: Iterable[Path] = (),
    *,
    network: bool,
) -> None:
    """Give up all files but these. Only `devices` take requests of their own kind (ioctl). The
    process must have no_new_privs. Raises OSError.
    """
    version = abi()
    everything = _everything(version)
    rules = _ruleset(version, network=network)
    try:
        for path in readable:
            _allow(rules, path, _READ & everything)
        for path in writable:
            _allow(rules, path, everything & ~_NEVER & ~_IOCTL)
        for path in devices:
            _allow(rules, path, (_READ | _WRITE_FILE | _IOCTL) & everything & ~_EXECUTE)
        kernel.syscall(_RESTRICT, rules, 0, what="landlock restrict")
    finally:
        os.close(rules)


def _allow(rules: int, path: Path, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there needs no permission
    try:
        if not path.is_dir():
            rights &= _OF_FILES
        rule = ctypes.create_string_buffer(struct.pack("<Qi", rights, place), 12)
        kernel.syscall(_ADD, rules, 1, rule, 0, what=f"landlock rule for {path}")
    finally:
        os.close(place)
