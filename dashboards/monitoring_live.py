"""The live source of the page *Model monitoring*: the real service, real traffic, its real log.

One run for the whole server, however many look at it: a thread starts the monitored service in a
process of its own, sends it a scene's mails in the order of their time, and stops it when the mails
are over, when somebody says so, when nobody has looked for a while, or when the server ends. The
log stays readable until the next run.
"""

import atexit
import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from mlsys import services
from mlsys.monitoring.dilution import diluted
from mlsys.monitoring.drive import drive
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.store import Store
from mlsys.services.errors import ServiceError

APP = "mlsys.monitoring.service:app"
FOLDER = "MONITORED_STORE"  # the variable by which the service, too, knows its folder
PER_DAY = 500
BATCH = 250
PAUSE = 0.5  # seconds between two batches: a day of mail in about one
LOOKED = 30.0  # seconds without a viewer after which the run ends


@dataclass(frozen=True)
class State:
    """Where a run stands. `phase`: nothing, starting, running, over, stopped or failed."""

    phase: str = "nothing"
    said: str = ""
    scene: tuple[str, float, int] | None = None
    url: str = ""
    pid: int = 0
    predictions: int = 0
    labels: int = 0

    @property
    def alive(self) -> bool:
        return self.phase in ("starting", "running")


class Run:
    """The one run of this server. All methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._looked = 0.0
        self.folder: Path | None = None
        self.state = State()
        atexit.register(self.close)

    def start(self, scene: str, share: float, seed: int) -> None:
        """Begin anew with a scene; does nothing while a run is alive."""
        with self._lock:
            if self.state.alive:
                return
            self._forget()
            self.folder = Path(tempfile.mkdtemp(prefix="mlsys-live-"))
            self._stop = threading.Event()
            self.state = State("starting", scene=(scene, share, seed))
            self._looked = time.monotonic()
            self._thread = threading.Thread(
                target=self._work, args=(self.folder, self._stop, scene, share, seed), daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """End the traffic and the service; returns when the process is gone."""
        with self._lock:
            self._stop.set()
            if self._thread is not None:
                self._thread.join(60)

    def look(self) -> State:
        """Where it stands; says also that somebody still looks."""
        self._looked = time.monotonic()
        return self.state

    def close(self) -> None:
        """Stop, and remove the log."""
        self.stop()
        self._forget()

    def _forget(self) -> None:
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None

    def _work(
        self, folder: Path, stop: threading.Event, scene: str, share: float, seed: int
    ) -> None:
        tell = self._tell
        try:
            live = diluted(scene, share, per_day=PER_DAY, seed=seed).live
            with services.web_app(APP, env={FOLDER: str(folder)}) as server:
                tell(phase="running", url=server.url, pid=server.pid)
                self._looked = time.monotonic()  # a busy machine starts it slowly
                for sent in drive(server.url, live, batch=BATCH):
                    tell(predictions=sent.predictions, labels=sent.labels)
                    lonely = time.monotonic() - self._looked > LOOKED
                    if stop.wait(PAUSE) or lonely:
                        break
            if stop.is_set():
                tell(phase="stopped", said="Stopped; the process is gone, its log is still here")
            elif self.state.predictions < len(live):
                tell(phase="stopped", said="Stopped, for nobody looked any more")
            else:
                tell(phase="over", said="All four weeks are sent; the service is stopped")
        except (MonitoringError, ServiceError, OSError) as error:
            tell(phase="failed", said=str(error))
        finally:
            if self.state.alive:
                tell(phase="failed", said="The run ended by a fault of this page.")

    def _tell(self, **changes: object) -> None:
        self.state = replace(self.state, **changes)


def known_store() -> Store | None:
    """The store that the environment names, when there is one with a log of predictions."""
    folder = os.environ.get(FOLDER)
    if not folder or not (Path(folder) / "predictions").is_dir():
        return None
    return Store(Path(folder))
