"""Ways to train a spam filter's last layer again, and what each of them is worth.

`stateless` begins anew from a window of labelled rows, `stateful` goes on from where the model is.
`compare` lives through a scene's four weeks with each way; `crossed` trains on the rows before a
change, after it, and both. When to train at all is for the caller to say.
"""

from collections.abc import Callable, Collection, Mapping
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression, SGDClassifier

from mlsys.monitoring.labels import DAY, known_at
from mlsys.monitoring.lesson_figures import after_change
from mlsys.monitoring.scenes import DAYS
from mlsys.monitoring.traffic import START, Traffic, encoded, model

Learn = Callable[[Any, pd.DataFrame, pd.Timestamp], tuple[Any, int]]
Way = tuple[Collection[int], Learn | None]

# Who answers until somebody better does, and how mails are prepared for its last layer, and are
# for every layer that takes its place.
champion, encode = model, encoded


def stateless(days: float) -> Learn:
    """From scratch, on the labelled rows of the last `days` days."""

    def learn(_: Any, known: pd.DataFrame, now: pd.Timestamp) -> tuple[Any, int]:
        rows = known[known["at"] >= now - days * DAY]
        return LogisticRegression(C=10).fit(encode(rows), rows["label"]), len(rows)

    return learn


def stateful(*, seed: int = 0) -> Learn:
    """From where it is: each label that came since yesterday is read once; at first, all there are.

    The first morning makes the model that goes on; whatever was champion until then is left.
    """

    def learn(current: Any, known: pd.DataFrame, now: pd.Timestamp) -> tuple[Any, int]:
        if isinstance(current, SGDClassifier):
            rows = known[known["label_at"] > now - DAY]
        else:
            rows, rate = known, {"learning_rate": "constant", "eta0": 0.02}
            current = SGDClassifier(loss="log_loss", random_state=seed, **rate)
        return current.partial_fit(encode(rows), rows["label"], classes=[0, 1]), len(rows)

    return learn


def live_through(
    mails: pd.DataFrame, inputs: np.ndarray, current: Any, due: Collection[int], learn: Learn | None
) -> tuple[list[float], int]:
    """Accuracy on each of four weeks' days, with a new model on the mornings `due` (0 to 27).

    `mails` are the reference and live rows of a scene, `inputs` the same rows as the model reads
    them. `learn` gets the model, the rows whose label is known by then, and the time; it returns a
    model and how many rows it read, whose sum is returned too.
    """
    cost, right = 0, []
    for number in range(DAYS):
        now = START + number * DAY
        if number in due:
            current, rows = learn(current, known_at(mails, now), now)
            cost += rows
        today = np.flatnonzero((mails["at"] >= now) & (mails["at"] < now + DAY))
        right.append(float((current.predict(inputs[today]) == mails["label"].iloc[today]).mean()))
    return right, cost


def compare(made: Traffic, ways: Mapping[str, Way]) -> tuple[pd.DataFrame, dict[str, list[float]]]:
    """Live through four weeks, once each way; a way is its mornings (0 to 27) and how it learns.

    Returns a row a way (trainings, rows read, and the accuracy before day 15 and in the last week)
    and each way's accuracy by day.
    """
    mails = pd.concat([made.reference, made.live], ignore_index=True)
    inputs, rows, days = encode(mails), [], {}
    for name, (due, learn) in ways.items():
        days[name], cost = live_through(mails, inputs, champion()[-1], due, learn)
        rows.append((len(due), cost, np.mean(days[name][:14]), np.mean(days[name][-7:])))
    columns = ["trainings", "rows read", "before", "last week"]
    return pd.DataFrame(rows, columns=columns, index=list(ways)), days


def crossed(scene: str, *, per_day: int = 300, seed: int = 0) -> pd.DataFrame:
    """Accuracy in %: a row for what was learned from (old, new, both), a column for each test.

    Half of the rows before and after the scene's change train, the other half tests.
    """
    old, new = after_change(scene, per_day=per_day, seed=seed)
    learn = {"old": old[::2], "new": new[::2], "both": pd.concat([old[::2], new[::2]])}
    test = {f"{scene}, old": old[1::2], f"{scene}, new": new[1::2]}
    table = pd.DataFrame(0.0, index=list(learn), columns=list(test))
    for (name, rows), (column, others) in product(learn.items(), test.items()):
        fitted = LogisticRegression(C=10).fit(encode(rows), rows["label"])
        table.loc[name, column] = 100 * fitted.score(encode(others), others["label"])
    return table
