"""Starting the dashboards: from the command line, and behind JupyterLab's proxy.

Settings that never change (loopback, no usage statistics, colours) are in
`.streamlit/config.toml` beside `app.py`; here are those that a start decides.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import webbrowser
from pathlib import Path

APP = Path(__file__).with_name("app.py")
PORT = 8501
START_SECONDS = 60.0


class LaunchError(RuntimeError):
    """The dashboards could not be started; the message is one sentence for a person."""


def command(port: int | str, *, behind_proxy: bool = False) -> list[str]:
    """The argument list that serves the app on a loopback port.

    Behind a proxy under another name than localhost (JupyterHub) Streamlit would refuse the
    browser's socket as coming from elsewhere; the proxy has already asked for a login there.
    """
    line = [sys.executable, "-m", "streamlit", "run", str(APP), f"--server.port={port}"]
    # The file beside app.py gives way to environment variables: what matters is repeated here.
    line += ["--server.headless=true", "--server.address=127.0.0.1"]
    if behind_proxy:
        line += ["--server.enableCORS=false", "--server.enableXsrfProtection=false"]
    return line


def jupyter_entry() -> dict[str, object]:
    """What jupyter-server-proxy asks of an entry point: a tile in the launcher, and the server.

    The proxy strips its own prefix (`/dashboards/`), and the app's addresses are relative, so
    that nothing here needs to know where the lab is mounted.
    """
    return {
        "command": command("{port}", behind_proxy="JUPYTERHUB_SERVICE_PREFIX" in os.environ),
        "timeout": int(START_SECONDS),
        "absolute_url": False,
        "new_browser_tab": True,
        "launcher_entry": {
            "title": "Dashboards",
            "icon_path": str(APP.with_name("icon.svg")),
            "category": "Notebook",
        },
    }


def serve(port: int | None = None, *, open_browser: bool = True) -> int:
    """Serve until interrupted; the exit status of the server, 0 after Ctrl-C.

    Without a port the first free one from 8501 on is taken. Raises LaunchError when the port is
    not free or the server does not come up.
    """
    chosen = _first_free() if port is None else port
    if not 1 <= chosen <= 65535:
        raise LaunchError(f"There is no port {chosen}; choose one from 1024 to 65535.")
    if not port_is_free(chosen):
        raise LaunchError(
            f"Port {chosen} is in use or not allowed; leave the port out and a free one is taken."
        )
    address = f"http://127.0.0.1:{chosen}"
    server = subprocess.Popen(command(chosen), stdout=subprocess.DEVNULL)
    try:
        _wait(server, address)
        print(f"The dashboards are at {address} (Ctrl-C stops them).", flush=True)
        if open_browser:
            webbrowser.open(address)
        return server.wait()
    except KeyboardInterrupt:
        return 0
    finally:
        _stop(server)


def _wait(server: subprocess.Popen, address: str) -> None:
    """Return when the server answers; raise when it ended or took too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise LaunchError(
                f"Streamlit ended with status {server.returncode} before it answered; "
                "`mlsys doctor` says what is missing."
            )
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise LaunchError(f"The dashboards did not answer at {address} in {START_SECONDS:.0f} seconds.")


def _stop(server: subprocess.Popen) -> None:
    if server.poll() is None:
        server.terminate()
        try:
            server.wait(5)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _first_free() -> int:
    for port in range(PORT, PORT + 100):
        if port_is_free(port):
            return port
    raise LaunchError(f"No port from {PORT} to {PORT + 99} is free.")


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        if os.name != "nt":  # a port in TIME_WAIT is free; on Windows the option means sharing
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
