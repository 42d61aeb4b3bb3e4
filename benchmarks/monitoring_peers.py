"""What evidently, NannyML and whylogs take for the same tables, each run in an environment of its
own, because none installs beside the workbook's (evidently and NannyML need plotly < 6).

    PEER_PYTHON benchmarks/monitoring_peers.py NAME REFERENCE.parquet CURRENT.parquet

prints `ready` once it has imported and tried its library, waits for a line, and prints one line of
JSON: {"peer": ..., "cpu": seconds, "columns": n}. This file is run by `benchmarks/monitoring.py`
and imports nothing of ours.
"""

import json
import sys
import time

REQUIREMENTS = {
    "evidently": ["evidently==0.7.23", "pandas<3"],
    "nannyml": ["nannyml==0.13.1", "statsmodels", "setuptools<81"],
    "whylogs": ["whylogs[viz]==1.6.4", "pandas<3", "pyarrow"],
}

# How many times our CPU each takes at the least, for the same statistics.
GOALS = {"evidently": 100, "nannyml": 50, "whylogs": 50}


def evidently(reference, current) -> None:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    Report([DataDriftPreset()]).run(current, reference).dict()


def nannyml(reference, current) -> None:
    import nannyml as nml

    calculator = nml.UnivariateDriftCalculator(
        column_names=list(reference.columns),
        continuous_methods=["kolmogorov_smirnov", "jensen_shannon", "wasserstein", "hellinger"],
        categorical_methods=["chi2", "jensen_shannon", "l_infinity", "hellinger"],
        chunk_number=1,
    )
    calculator.fit(reference)
    calculator.calculate(current)


def whylogs(reference, current) -> None:
    import whylogs as why
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores

    views = [why.log(pandas=frame).view() for frame in (current, reference)]
    calculate_drift_scores(target_view=views[0], reference_view=views[1], with_thresholds=True)


if __name__ == "__main__":
    import pandas as pd

    name, *paths = sys.argv[1:]
    reference, current = (pd.read_parquet(path) for path in paths)
    run = {"evidently": evidently, "nannyml": nannyml, "whylogs": whylogs}[name]
    run(reference.head(2000), current.head(2000))  # imports and first-call work are not counted
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.process_time()
    run(reference, current)
    spent = time.process_time() - begin
    print(json.dumps({"peer": name, "cpu": spent, "columns": reference.shape[1]}))
