"""Runs a set of notebooks side by side: each in a worker process, timed, weighed, and remembered.

A thread for each slot drives one worker and looks at it five times a second. The memory is the sum
of the resident sizes of the kernel and of all that it started, sampled: an instant's peak between
two looks is missed, a process may be that lived for less than a second, and pages that processes
share count for each of them.
"""

import json
import multiprocessing
import os
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import psutil

from mlsys.lesson_text import write_atomically
from mlsys.notebooks import warm, worker
from mlsys.notebooks.fingerprint import fingerprint
from mlsys.notebooks.watch import Watch
from mlsys.place import PlaceError

LOOK_EVERY = 0.2  # seconds
START_WITHIN = 150.0  # seconds for the worker and its kernel to be ready
Event = Callable[[Path, str, dict[str, Any]], None]


@dataclass(frozen=True)
class Outcome:
    """How one notebook fared.

    verdict: passed, cached, failed, timed out, leaked (processes outlived the kernel), not run.
    seconds: of the run that made the kept notebook; peak_mb: 10^6 bytes; cell: its number from 1
    and its id in the source.
    """

    notebook: Path
    verdict: str
    seconds: float = 0.0
    peak_mb: float = 0.0
    error: str | None = None
    cell: tuple[int | None, str | None] | None = None
    executed: Path | None = None

    @property
    def good(self) -> bool:
        return self.verdict in ("passed", "cached")

    def sentence(self) -> str:
        """The failure in one line: lesson, cell, error."""
        number, own = self.cell or (None, None)
        where = f", cell {number or '?'} ({own})" if own or number else ""
        return f"{self.notebook.stem}{where}: {self.error or self.verdict}"


@dataclass(frozen=True)
class Job:
    """One notebook to run: what, with what, and where its results are kept."""

    notebook: Path
    content: dict[str, Any]
    parameters: dict[str, Any]
    student: bool
    output: Path
    key: str

    @property
    def record(self) -> Path:
        return self.output.with_suffix(".json")


def run(
    notebooks: list[Path],
    *,
    root: Path,
    jobs: int = 2,
    parameters: dict[str, Any] | None = None,
    profile: str | None = None,
    student: bool = False,
    force: bool = False,
    timeout: float = 900.0,
    on_event: Event | None = None,
    stop: threading.Event | None = None,
) -> list[Outcome]:
    """Run notebooks, `jobs` at a time, and return an outcome for each, in the order given.

    on_event is called from the slots' threads with (notebook, "start" | "cell" | "end", details).
    Raises PlaceError for a notebook, profile or parameter that is not there, before any run.
    """
    plan = [
        make_job(Path(n), root=root, parameters=parameters or {}, profile=profile, student=student)
        for n in notebooks
    ]
    return run_jobs(plan, slots=jobs, force=force, timeout=timeout, on_event=on_event, stop=stop)


def run_jobs(
    plan: Sequence[Job],
    *,
    slots: int = 2,
    force: bool = False,
    timeout: float = 900.0,
    on_event: Event | None = None,
    stop: threading.Event | None = None,
) -> list[Outcome]:
    """Run what `make_job` has made, `slots` at a time; no notebook beside another edition of it."""
    stop = stop or threading.Event()
    tell = on_event or (lambda *_: None)
    outcomes: dict[Path, Outcome] = {}  # by where the job keeps its result
    todo = []
    for job in plan:
        if not force and (known := _remembered(job)):
            outcomes[job.output] = known
            tell(job.notebook, "end", {"outcome": known})
        else:
            outcomes[job.output] = Outcome(job.notebook, "not run")
            todo.append(job)
    # Of those never run the last comes first: a course's later lessons take longer.
    waiting = sorted(reversed(todo), key=_last_seconds, reverse=True)
    threads = share_of_cores(slots)
    running: set[Path] = set()
    choosing = threading.Lock()

    def take() -> Job | None:
        with choosing:
            job = next((job for job in waiting if job.notebook not in running), None)
            if job:
                waiting.remove(job)
                running.add(job.notebook)
            return job

    def slot() -> None:
        with _Worker(threads) as own:
            while not stop.is_set() and (job := take()):
                tell(job.notebook, "start", {"cells": len(job.content["cells"])})
                outcome = _run_one(job, own, kernels=forked, timeout=timeout, tell=tell, stop=stop)
                outcomes[job.output] = outcome
                tell(job.notebook, "end", {"outcome": outcome})
                with choosing:
                    running.remove(job.notebook)

    slots = min(max(1, slots), len(todo))
    if slots:
        with (
            warm.kernels(notebooks=len(todo), environment=threads) as forked,
            ThreadPoolExecutor(slots) as pool,
        ):
            futures = [pool.submit(slot) for _ in range(slots)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                stop.set()
                raise
    return [outcomes[job.output] for job in plan]


def share_of_cores(slots: int) -> dict[str, str]:
    """Environment variables by which OpenMP and BLAS in a kernel take its slot's share of cores.

    Their threads wait for each other by spinning: where two kernels have more of them than there
    are cores, a fit of a second takes minutes. The share is that of the slots asked for, so that
    a lesson runs alike alone. What a person has set stays.
    """
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    share = {"OMP_NUM_THREADS": str(max(1, cores // max(1, slots))), "OMP_WAIT_POLICY": "PASSIVE"}
    return {name: os.environ.get(name, value) for name, value in share.items()}


def make_job(
    notebook: Path, *, root: Path, parameters: dict[str, Any], profile: str | None, student: bool
) -> Job:
    """What running this notebook would mean; PlaceError if it cannot."""
    try:
        content = json.loads(notebook.read_text(encoding="utf-8"))
        content["cells"] = [{**c, "source": "".join(c["source"])} for c in content["cells"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PlaceError(f"{notebook} is not a notebook that can be read: {error}.") from error
    parameters = _parameters(notebook, content, parameters, profile)
    key = fingerprint(
        content,
        folder=notebook.parent,
        root=root,
        parameters=parameters,
        edition="student" if student else "source",
    )
    label = _label(parameters, profile, student)
    output = _kept_at(notebook, root) / f"{notebook.stem}{label}.ipynb"
    return Job(notebook, content, parameters, student, output, key)


def _parameters(
    notebook: Path, content: dict[str, Any], asked: dict[str, Any], profile: str | None
) -> dict[str, Any]:
    """The profile's values, then those asked for; each must be a name of the parameters cell."""
    from mlsys.lint import assigned

    cell = next(
        (c for c in content["cells"] if "parameters" in c["metadata"].get("tags", [])), None
    )
    profiles = cell["metadata"].get("profiles", {}) if cell else {}
    # A lesson without such a profile has only one size: it runs as it is.
    values = {**profiles.get(profile, {}), **asked}
    known = assigned(cell["source"]) if cell else []
    if unknown := sorted(set(values) - set(known)):
        there = ", ".join(known) or "none"
        raise PlaceError(f"{notebook.stem} has no parameter {unknown[0]!r}; it has: {there}.")
    return values


def _label(parameters: dict[str, Any], profile: str | None, student: bool) -> str:
    said = json.dumps(parameters, sort_keys=True, default=str)
    size = profile or ("set-" + sha256(said.encode()).hexdigest()[:6] if parameters else "")
    return "".join(f"@{part}" for part in (size, "student" if student else "") if part)


def _kept_at(notebook: Path, root: Path) -> Path:
    executed = root / ".mlsys" / "executed"
    folder = notebook.resolve().parent
    if folder.is_relative_to(root / "notebooks"):
        return executed / folder.relative_to(root / "notebooks")
    return executed / "elsewhere" / sha256(str(folder).encode()).hexdigest()[:8]


def _remembered(job: Job) -> Outcome | None:
    """The outcome of the last run, if nothing that it depends on has changed and it passed."""
    try:
        record = json.loads(job.record.read_text(encoding="utf-8"))
        if record["key"] != job.key or record["verdict"] != "passed" or not job.output.exists():
            return None
        seconds, peak = float(record["seconds"]), float(record["peak_mb"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Outcome(job.notebook, "cached", seconds, peak, executed=job.output)


def _last_seconds(job: Job) -> float:
    """How long this or another edition took last: the longest begin, so that no slot ends late.

    What never ran may be long, so it comes first.
    """
    for record in (job.record, job.record.with_stem(job.notebook.stem)):
        try:
            return float(json.loads(record.read_text(encoding="utf-8"))["seconds"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return float("inf")


def _run_one(
    job: Job,
    own: "_Worker",
    *,
    kernels: str | None,
    timeout: float,
    tell: Event,
    stop: threading.Event,
) -> Outcome:
    job.output.parent.mkdir(parents=True, exist_ok=True)
    job.record.unlink(missing_ok=True)
    source = job.notebook
    if job.student:
        from mlsys.edition import student_edition

        source = job.output.with_suffix(".source.ipynb")
        edition = student_edition(job.content, name=job.notebook.stem)
        write_atomically(source, json.dumps(edition, indent=1))
    task = {
        "source": str(source),
        "output": str(job.output),
        "folder": str(job.notebook.parent),
        "parameters": job.parameters,
        "student": job.student,
        "mark": uuid.uuid4().hex,
        "kernels": kernels,
    }
    found = own.run(task, timeout=timeout, stop=stop, on_cell=lambda n, of: tell(
        job.notebook, "cell", {"number": n, "of": of}))  # fmt: skip
    outcome = replace(found, notebook=job.notebook, executed=job.output)
    record = {"key": job.key} | {
        k: v for k, v in asdict(outcome).items() if k not in ("notebook", "executed")
    }
    write_atomically(job.record, json.dumps(record, indent=1) + "\n")
    return outcome


class _Worker:
    """One worker process, started when first needed, started anew after it had to be killed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = environment
        self._process: Any = None
        self._pipe: Any = None

    def __enter__(self) -> "_Worker":
        return self

    def __exit__(self, *error: object) -> None:
        if self._process is not None:
            self._pipe.close()  # an idle worker ends, and removes its folder
            self._process.join(5)
        self._kill()

    def run(
        self,
        task: dict[str, Any],
        *,
        timeout: float,
        stop: threading.Event,
        on_cell: Callable[[int, int], None],
    ) -> Outcome:
        if self._process is None or not self._process.is_alive():
            self._start()
        watch = Watch(self._process.pid, task["mark"])
        began = time.monotonic()
        ends = began + START_WITHIN + timeout
        reached, verdict, error, cell = 0, "", None, None
        self._pipe.send(task)
        while not verdict:
            try:
                message = self._pipe.recv() if self._pipe.poll(LOOK_EVERY) else None
            except (EOFError, OSError):
                verdict, error = "failed", "the process that ran it died"
                break
            watch.look()
            if message and message[0] == "cell":
                # The limit is the lesson's; a slow start of its kernel is the machine's.
                ends = ends if reached else time.monotonic() + timeout
                reached = message[1]
                on_cell(*message[1:])
            elif message and message[0] == "kernel":
                watch.add(message[1])
            elif message:
                error, cell = message[1]["error"], message[1]["cell"]
                verdict = "failed" if error else "passed"
            elif stop.is_set():
                verdict, error = "not run", "stopped"
            elif time.monotonic() > ends:
                verdict, error = "timed out", f"took longer than {timeout:g} s"
                cell = worker.cell_at(task, reached)
        seconds = time.monotonic() - began
        if verdict in ("timed out", "not run") or error == "the process that ran it died":
            cell = cell or worker.cell_at(task, reached)
            self._kill()
            watch.kill()
            watch.end()
        elif left := watch.end():
            said = f"left {len(left)} running: {', '.join(left)}"
            verdict = "leaked" if verdict == "passed" else verdict
            error = f"{error}; {said}" if error else said
        place = tuple(cell) if cell else None
        return Outcome(Path(), verdict, round(seconds, 2), round(watch.peak / 1e6, 1), error, place)

    def _start(self) -> None:
        self._kill()
        # Spawned, on every platform alike: a fork of a process with threads may hang.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self._environment)
        self._process = context.Process(target=worker.main, args=arguments, daemon=True)
        self._process.start()
        theirs.close()

    def _kill(self) -> None:
        """End the worker and its kernel; an idle one has none and just goes."""
        if self._process is None:
            return
        try:
            whole = psutil.Process(self._process.pid)
            for process in [*whole.children(recursive=True), whole]:
                process.kill()
        except psutil.Error:
            pass
        self._process.join(5)
        self._pipe.close()
        self._process = None
