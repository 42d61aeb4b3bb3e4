"""How many test cells of public courses run outside the student's process unchanged.

    python benchmarks/grading_public.py --from DIR           # all notebooks: some minutes
    python benchmarks/grading_public.py --from DIR --quick   # one notebook of each of nine

DIR holds checkouts or mirrors of the repositories below, none of whose text is ours: each under
`owner+name`, `owner/name` or `name`, as `git clone https://github.com/owner/name` makes it, and
with the commit named here. One that is not there, or lacks that commit, is absent.

A notebook takes part if it holds its author's answers: judged is each test cell that these pass in
one process (`grading_public_run`), each text once a repository. Of those whose answer matters, that
is which fail in one process when the answers are taken out, it is also seen that they fail outside.
For each cell that does not run unchanged, the repository, the notebook, the cell and the reason are
printed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path

from grading_public_notebooks import find_repository, find_work, take
from grading_public_run import Judged, holds_answers, judge
from report import Figure, report

from autograde.protect.supervisor import Zygote

# The largest first, so that no worker ends long after the others.
REPOSITORIES = {
    "spanto/2021WNPhys260": "26c72724c31253d16ac3644c12f0f453d2f16a47",
    "jupyter/nbgrader": "207a8e544968092c93af807cce6f002552c628fa",
    "ucbds-infra/otter-grader": "4059e7ae536b64a9d9b18c0d693a4a88dc3e255a",
    "219project/num_meth_nbgrader": "8246e07eef02092ed9ed23a82b0ee8d9c5b49f5e",
    "lukassnoek/introPy": "3df98e53810a96bbdd6ac91d0aa35ef2fb3295ef",
    "ccha23/cs1302i21a": "52ad875cc49cf51f805d3c7797ff0a2f808fb7a6",
    "sean-morris/otterizing-jupyter-notebooks": "c4b576a702d905efc3a218d39864ff5ad5894ba2",
    "JHU-Data-Science/assignments": "9780d44d08ec80cfa99d2c59c55db2002cad7c64",
    "TRU-CS/autograder": "bcc9fdc36f2ff4e9ee286ace64e53d4b42760b67",
    "earthlab/nbgrader-test-course": "0d446e9e9a1a4abf9b90e1e3391b22a47eba73ec",
    "evgenytsydenov/python_course": "cb265bdd2437b0c14d758109694960577ad3523e",
    "feldlime/nbgrader-itmo-recsys-2025-spring": "959381fbd5742922cf0b5e9c6b7355c6d23eb694",
    "havardei/nbgrader-exercises": "be0606cb1dbfffd3310048f7df2d5d9400a4d7e8",
    "madclam/info113": "a36cc6bf5e378d9a4d35899e8b9be52c21badd17",
    "numberisnan/isc4u-notebooks": "083375d414da725afa57c116ef7475b3417a0714",
    "phaustin/eoas_nbgrader": "0d4282a30a29290cb965e2b65e8a913fed677943",
}
QUICK = {  # of some repositories a notebook with many kinds of tests and no long ones
    "spanto/2021WNPhys260": "source/pf5/preflight5.ipynb",
    "jupyter/nbgrader": "nbgrader/docs/source/user_guide/source/ps1/problem1.ipynb",
    "ucbds-infra/otter-grader": "docs/tutorial/demo.ipynb",
    "219project/num_meth_nbgrader": "TestCourse/source/QR/QR.ipynb",
    "lukassnoek/introPy": "intropy/solutions/week_1/1_python_basics.ipynb",
    "ccha23/cs1302i21a": "source/Review/Review Questions.ipynb",
    "sean-morris/otterizing-jupyter-notebooks": "raw_notebooks/lab/lab01/lab01.ipynb",
    "earthlab/nbgrader-test-course": "source/week1/homework1.ipynb",
    "madclam/info113": "source/HW1/01-images.ipynb",
}
ABOUT = {
    "review": "waits for a person",
    "refused": "named beforehand by `generate`",
    "differs": "another verdict",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="folder", type=Path, help="where the repositories lie")
    parser.add_argument("--quick", action="store_true", help="one notebook of each of nine")
    chosen = parser.parse_args()
    wanted = list(QUICK if chosen.quick else REPOSITORIES)
    found: list[Found] = []
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        runs = {
            pool.submit(judge_repository, chosen.folder, name, chosen.quick): name
            for name in wanted
        }
        for run in as_completed(runs):
            found.append(run.result())
            print(f"{runs[run]}: {said(found[-1])}", flush=True)
    judged = [cell for repository in found for cell in repository.judged]
    for cell in sorted(judged, key=lambda cell: cell.place):
        if cell.outside != "same":
            print(f"{ABOUT[cell.outside]}: {cell.place}: {cell.why}")
        if cell.fooled:
            print(f"passes without an answer: {cell.place}")
    left_out = sum((repository.left_out for repository in found), Counter())
    for why, count in left_out.most_common():
        print(f"left out: {count} notebooks: {why}")
    return report("public courses", figures(judged, sum(bool(f.judged) for f in found)))


@dataclass
class Found:
    """What came of one repository; `there` is False where its commit is absent."""

    there: bool = False
    judged: list[Judged] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)


def judge_repository(folder: Path | None, repository: str, quick: bool) -> Found:
    """Judge its notebooks, those with the same imports from one warm process."""
    found = Found()
    with tempfile.TemporaryDirectory(prefix="public-") as target:
        place = folder and find_repository(folder, repository)
        found.there = bool(place) and take(place, REPOSITORIES[repository], Path(target))
        ready = []
        for work in find_work(repository, Path(target)):
            if quick and work.path != QUICK[repository]:
                continue
            if missing := work.missing():
                found.left_out[f"needs {missing}"] += 1
            elif not holds_answers(work):
                found.left_out["holds no answers"] += 1
            else:
                ready.append(work)
        ready.sort(key=lambda work: work.imports)
        for imports, group in groupby(ready, lambda work: work.imports):
            with Zygote(imports) as zygote:
                for work in group:
                    cells = judge(work, zygote)
                    found.judged += cells
                    if not cells:
                        found.left_out["no test passes with its answers here"] += 1
    found.judged = list({cell.text: cell for cell in reversed(found.judged)}.values())
    return found


def said(found: Found) -> str:
    same = sum(cell.outside == "same" for cell in found.judged)
    return f"{same} of {len(found.judged)} cells unchanged" if found.there else "absent"


def figures(judged: list[Judged], repositories: int) -> list[Figure]:
    """Shares of all cells that were judged; absent where there were none."""
    kinds = Counter(cell.outside for cell in judged)
    tools = Counter(cell.tool for cell in judged)
    same = Counter(cell.tool for cell in judged if cell.outside == "same")
    tells = [cell.fooled for cell in judged if cell.tells]
    by_tool = ", ".join(f"{same[tool]} of {tools[tool]} of {tool}" for tool in sorted(tools))
    note = f"{kinds['same']} of {len(judged)} in {repositories} repositories: {by_tool}"
    if not judged:
        note = "none of the repositories is there: see --from"
    without = f"of {len(tells)} that fail without an answer in one process"
    return [
        Figure("unchanged", share(kinds["same"], len(judged)), 0.85, note=note),
        Figure("fooled", share(sum(tells), len(tells)), 0, at_most=True, note=without),
        *(
            Figure(kind, share(kinds[kind], len(judged)), note=f"{kinds[kind]} cells: {about}")
            for kind, about in ABOUT.items()
        ),
    ]


def share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


if __name__ == "__main__":
    sys.exit(main())
