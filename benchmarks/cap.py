"""The CAP laboratory against its peers, in one run, as ratios.

    python benchmarks/cap.py            # some minutes
    python benchmarks/cap.py --quick    # under a minute

The store against the same store in simpy; the WARS Monte Carlo against the same in pure Python;
the checker against Porcupine, and against a search breadth first; and the server's share of a
slider's change. Porcupine is a Go library, so it is measured when `go` is on PATH and
MLSYS_HISTORIES names a checkout of its repository (its test data are the histories, and state the
verdicts); otherwise that figure is reported as absent. Times are of CPU, except Porcupine's own.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from mlsys.cap import PROFILES, check, figures, preset, read_ages, run, visibility, wars
from mlsys.cap.checker import search
from mlsys.cap.history import MISMATCH, Event, History
from mlsys.cap.latency import Profile
from mlsys.cap.models import ILLEGAL, Model, cas_register, find_model, partition

sys.path.insert(0, str(Path(__file__).parent))
import cap_peers
from report import Figure, report

TRIALS = 1_000_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds, under a minute")
    quick = parser.parse_args().quick
    return report(
        "cap",
        [
            store_against_simpy(operations=4_000 if quick else 20_000, rounds=5),
            *monte_carlo(plain_trials=20_000 if quick else 200_000, rounds=3 if quick else 7),
            *checker_against_porcupine(rounds=3 if quick else 7),
            checker_against_breadth_first(histories=10 if quick else 30),
            checker_never_hangs(),
            *slider(rounds=7 if quick else 25),
        ],
    )


def cpu_seconds(work: Callable[..., object], *arguments: object) -> float:
    begin = time.process_time()
    work(*arguments)
    return time.process_time() - begin


def store_against_simpy(*, operations: int, rounds: int) -> Figure:
    rates = cap_peers.compare(operations, rounds)
    ratios = [ours / theirs for ours, theirs in zip(rates["ours"], rates["simpy"])]
    note = (
        f"ours {statistics.median(rates['ours']):,.0f}, simpy"
        f" {statistics.median(rates['simpy']):,.0f} operations/s;"
        f" ratios {min(ratios):.2f} to {max(ratios):.2f}"
    )
    return Figure("store_times_simpy", statistics.median(ratios), 2.0, note=note)


def monte_carlo(*, plain_trials: int, rounds: int) -> list[Figure]:
    """All of W, A, R, S drawn, and the stale reads and t-visibility of R = W = 1 found."""
    fit = PROFILES["lnkd-disk"]
    ratios, ours = [], []
    for seed in range(rounds):
        ours.append(cpu_seconds(_array_wars, fit, seed))
        plain = cpu_seconds(_plain_wars, fit, plain_trials, seed) * TRIALS / plain_trials
        ratios.append(plain / ours[-1])
    note = (
        f"a million trials in {1000 * statistics.median(ours):.0f} ms; pure Python extrapolated"
        f" from {plain_trials:,}; ratios {min(ratios):.1f} to {max(ratios):.1f}"
    )
    return [Figure("wars_times_pure_python", statistics.median(ratios), 10.0, note=note)]


def _array_wars(fit: Profile, seed: int) -> tuple[float, float]:
    draws = wars(fit, n=3, trials=TRIALS, seed=seed)
    return draws.stale(r=1, w=1).mean(), draws.t_visibility(r=1, w=1)


def _plain_wars(fit: Profile, trials: int, seed: int) -> tuple[float, float]:
    """The same in pure Python: one trial after another, as the paper's pseudo-code says it."""
    rng, needed = random.Random(seed), []
    write, ack, read, response = (leg.draw for leg in (fit.write, fit.ack, fit.read, fit.response))
    for _ in range(trials):
        writes = [write(rng) for _ in range(3)]
        returned = min(w + ack(rng) for w in writes)
        answers = []
        for w in writes:
            asked = read(rng)
            answers.append((asked + response(rng), w - asked))
        needed.append(max(0.0, min(answers)[1] - returned))
    needed.sort()
    return sum(t > 0 for t in needed) / trials, needed[int(0.999 * trials)]


# --- the checker ---------------------------------------------------------------------------------


def checker_against_porcupine(*, rounds: int) -> list[Figure]:
    """Only the search is compared, on histories that both have read already."""
    folder, go = os.environ.get("MLSYS_HISTORIES"), shutil.which("go")
    names = ("checker_over_porcupine_etcd", "checker_over_porcupine_kv")
    if not folder or not go:
        missing = "go is not on PATH" if not go else "MLSYS_HISTORIES names no checkout"
        return [Figure(name, None, 4.0, at_most=True, note=missing) for name in names]
    logs, stores, agreed = _public_histories(Path(folder))
    theirs = _porcupine_ms(Path(folder), rounds)
    made = []
    for name, key, sets in zip(names, ("etcd", "kv"), (logs, stores)):
        ours = []
        for _ in range(rounds):
            begin = time.perf_counter()
            for model, parts in sets:
                _search_parts(model, parts)
            ours.append(1000 * (time.perf_counter() - begin))
        mine, peer = statistics.median(ours), statistics.median(theirs[key])
        note = f"{len(sets)} histories: {mine:.0f} ms, Porcupine {peer:.0f} ms; {agreed}"
        made.append(Figure(name, mine / peer, 4.0, at_most=True, note=note))
    return made


def _search_parts(model: Model, parts: list[list]) -> None:
    # One key after another is enough here: what is compared is the search, and none is refuted
    # by one key while another runs out of budget.
    for part in sorted(parts, key=len):
        if search(model, part, 5_000_000)[0] is False:
            break


def _public_histories(folder: Path) -> tuple[list, list, str]:
    stated = (folder / "porcupine_test.go").read_text(encoding="utf-8")
    etcd = re.findall(r"checkJepsen\(t, (\d+), (true|false)\)", stated)
    stores = re.findall(r'checkKv\(t, "([^"]+)", (true|false), true\)', stated)
    rows = [(f"jepsen/etcd_{int(n):03d}.log", answer, "cas-register") for n, answer in etcd]
    rows += [(f"kv/{name}.txt", answer, "key-value") for name, answer in stores]
    sets: dict[str, list] = {"cas-register": [], "key-value": []}
    agreed = 0
    for name, answer, kind in rows:
        history = History.from_text((folder / "test_data" / name).read_text(encoding="utf-8"))
        agreed += check(history, model=kind).linearizable is (answer == "true")
        model = find_model(kind, history)
        sets[kind].append((model, list(partition(history, model).values())))
    verdicts = f"{agreed} of {len(rows)} published verdicts agree"
    return sets["cas-register"], sets["key-value"], verdicts


_GO = """package porcupine

import (
	"fmt"
	"testing"
	"time"
)

func TestCompare(t *testing.T) {
	var logs, stores [][]Event
	for _, i := range []int{%s} {
		logs = append(logs, parseJepsenLog(fmt.Sprintf("test_data/jepsen/etcd_%%03d.log", i)))
	}
	for _, name := range []string{%s} {
		stores = append(stores, parseKvLog("test_data/kv/"+name+".txt"))
	}
	for round := 0; round < %d; round++ {
		start := time.Now()
		for _, events := range logs {
			CheckEvents(etcdModel, events)
		}
		fmt.Println("etcd", time.Since(start).Seconds()*1e3)
		start = time.Now()
		for _, events := range stores {
			CheckEvents(kvModel, events)
		}
		fmt.Println("kv", time.Since(start).Seconds()*1e3)
	}
}
"""


def _porcupine_ms(folder: Path, rounds: int) -> dict[str, list[float]]:
    """Wall-clock ms of each round, by a test added to a copy of Porcupine's own."""
    stated = (folder / "porcupine_test.go").read_text(encoding="utf-8")
    logs = ", ".join(str(int(n)) for n in re.findall(r"checkJepsen\(t, (\d+),", stated))
    names = re.findall(r'checkKv\(t, "([^"]+)", (?:true|false), true\)', stated)
    stores = ", ".join(f'"{name}"' for name in names)
    with tempfile.TemporaryDirectory() as temporary:
        copy = Path(temporary) / "porcupine"
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".git"))
        (copy / "compare_test.go").write_text(_GO % (logs, stores, rounds), encoding="utf-8")
        done = subprocess.run(
            [shutil.which("go"), "test", "-run", "TestCompare$", "-v", "."],
            cwd=copy, capture_output=True, text=True, timeout=300, check=True,
        )  # fmt: skip
    found = re.findall(r"^(etcd|kv) ([\d.]+)$", done.stdout, re.MULTILINE)
    return {key: [float(ms) for name, ms in found if name == key] for key in ("etcd", "kv")}


def checker_against_breadth_first(*, histories: int) -> Figure:
    """On histories as large as Jepsen's etcd logs, made here: five processes, one register."""
    model = cas_register()
    made = [partition(jepsen_like(seed), model)[None] for seed in range(histories)]
    mine, theirs = [], []
    ours = cpu_seconds(lambda: mine.extend(search(model, part, 10**6)[0] for part in made))
    peer = cpu_seconds(lambda: theirs.extend(breadth_first(model, part) for part in made))
    assert mine == theirs, "the two searches disagree"
    yes = sum(mine)
    note = (
        f"{histories} histories of 80 operations, {yes} linearizable, all verdicts equal;"
        f" {1000 * ours:.0f} ms against {1000 * peer:.0f} ms"
    )
    return Figure("checker_times_breadth_first", peer / ours, 5.0, note=note)


def jepsen_like(seed: int, operations: int = 80, processes: int = 5) -> History:
    """Reads, writes and compare-and-sets of five values, some timed out, some reads wrong."""
    rng, events, clock = random.Random(seed), [], [0.0] * processes
    steps = []
    for _ in range(operations):
        process = min(range(processes), key=clock.__getitem__)
        start = clock[process] + rng.random()
        instant = start + 4 * rng.random()
        clock[process] = instant + 4 * rng.random()
        steps.append((instant, start, clock[process], process))
    before = state = None
    spoil = operations * 3 // 4 if seed % 3 == 0 else operations
    for place, (_, start, end, process) in enumerate(sorted(steps)):
        f = rng.choice(("read", "write", "cas"))
        value = {"read": None, "write": rng.randrange(5)}.get(
            f, (rng.randrange(5), rng.randrange(5))
        )
        events.append(Event(start, process, "invoke", f, None, value))
        kind, answer, note = "ok", value, ""
        if f == "read":
            # One read too old: the value that was there before the last change.
            answer = before if place >= spoil else state
            spoil = operations if answer != state else spoil
        elif f == "write":
            before, state = state, value
        elif state == value[0]:
            before, state = state, value[1]
        else:
            kind, note = "fail", MISMATCH
        if f == "write" and rng.random() < 0.05:
            kind, answer, note = "info", value, "timed out"
        events.append(Event(end, process, kind, f, None, answer, note))
    return History(tuple(sorted(events, key=lambda event: event.time)))


def breadth_first(model: Model, operations: list) -> bool:
    """All configurations that agree with the history so far, widened at each answer."""
    places = sorted(
        [(op.index, n, True) for n, op in enumerate(operations)]
        + [(op.returned, n, False) for n, op in enumerate(operations) if op.returned >= 0]
    )
    configurations, running = {(frozenset(), model.initial)}, set()
    for _, n, called in places:
        if called:
            running.add(n)
            continue
        reached, fresh = set(configurations), list(configurations)
        while fresh:
            taken, state = fresh.pop()
            for other in running - taken:
                after = model.step(state, operations[other])
                configuration = (taken | {other}, after)
                if after is not ILLEGAL and configuration not in reached:
                    reached.add(configuration)
                    fresh.append(configuration)
        configurations = {(taken - {n}, state) for taken, state in reached if n in taken}
        running.discard(n)
        if not configurations:
            return False
    return True


def checker_never_hangs() -> Figure:
    """Twenty appends that all overlap, then a read that no order of them gives: 20! orders."""
    rows = [Event(0.0, n, "invoke", "append", None, n) for n in range(20)]
    rows += [Event(1.0, n, "ok", "append", None, n) for n in range(20)]
    rows += [Event(2.0, 0, "invoke", "read", None, None)]
    rows += [Event(3.0, 0, "ok", "read", None, (*range(1, 20), 1))]
    begin = time.process_time()
    verdict = check(History(tuple(rows)), steps=200_000)
    spent = time.process_time() - begin
    return Figure(
        "hard_history_seconds", spent, 10.0, at_most=True,
        note=f"{verdict.answer}, {verdict.steps:,} steps",
    )  # fmt: skip


# --- what a slider costs --------------------------------------------------------------------------


def slider(*, rounds: int) -> list[Figure]:
    """From a changed value to the figure's JSON, without what the page has cached."""
    draws = wars(PROFILES["lnkd-disk"], trials=100_000)

    def move_quorum(place: int) -> None:
        r, w = 1 + place % 3, 1 + place // 3 % 3
        t = draws.t_visibility(r=r, w=w)
        figures.staleness([], draws, r=r, w=w, title=f"{t:.1f} ms").to_json()

    def move_scene(seed: int) -> None:
        played = run(preset("isolated leader", begin_ms=3_000.0 + seed))
        verdict, ages = check(played.history), read_ages(played.history)
        figures.timeline(played, ages, verdict.witness, title=str(verdict)).to_json()
        figures.staleness(visibility(ages, (0, 5, 50, 500)), title="").to_json()

    made = []
    for name, move in (("slider_quorum_ms", move_quorum), ("slider_scene_ms", move_scene)):
        move(0)
        spent = [1000 * cpu_seconds(move, place) for place in range(rounds)]
        note = f"median of {rounds}; {min(spent):.0f} to {max(spent):.0f} ms of CPU"
        made.append(Figure(name, statistics.median(spent), 200.0, at_most=True, note=note))
    return made


if __name__ == "__main__":
    raise SystemExit(main())
