"""Says in one sentence why this user may make no namespaces here, and what opens them."""

from pathlib import Path

_SWITCHES = {
    "user/max_user_namespaces": 15000,
    "kernel/unprivileged_userns_clone": 1,  # Debian's kernels, before version 5.10
}
_APPARMOR = "kernel/apparmor_restrict_unprivileged_userns"  # Ubuntu's, since 23.10


def why_no_namespaces(proc: Path = Path("/proc")) -> str:
    """The first cause that is found below `proc`, and its remedy."""
    for name, enough in _SWITCHES.items():
        if _read(proc / "sys" / name) == "0":
            setting = name.replace("/", ".")
            return f"closed by {setting} = 0; root opens them: sysctl -w {setting}={enough}"
    if "\nSeccomp:\t2" in _read(proc / "self/status"):
        return (
            "closed by a seccomp filter, most likely of a container; Docker starts one without by "
            "--security-opt seccomp=unconfined"
        )
    if _read(proc / "sys" / _APPARMOR) == "1":
        return (
            f"closed by AppArmor ({_APPARMOR.replace('/', '.')} = 1) to programs without a profile;"
            " install bubblewrap, which has one from Ubuntu 25.04 on (24.04: autograde/README.md)"
        )
    return "the kernel refuses them to this user"


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
