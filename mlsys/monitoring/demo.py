"""A real spam filter under traffic that drifts on demand: what the dashboard's first view shows.

The filter (words to logistic regression) is trained on one part of the messages, its reference is
a second part, and the traffic of twelve weeks is drawn from a third, which a scene then spoils.
The drift test here is the two-sample Kolmogorov-Smirnov statistic against its critical value.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

WEEKS = 12
PER_WEEK = 200
CUT_AT = 40

COLUMNS = {
    "length": "length, in characters",
    "digits": "share of digits",
    "capitals": "share of capitals",
    "unknown": "share of unseen words",
    "score": "model's spam score",
}


@dataclass(frozen=True)
class Scene:
    """What happens to the traffic: `kind` of `KINDS`, to a share `strength` (0..1) of the messages
    that it can touch, from week `start` on (the first week is 1)."""

    kind: str = "adversarial"
    strength: float = 0.6
    start: int = 7
    seed: int = 0


@dataclass(frozen=True)
class Filter:
    """A trained spam filter, and the messages that it has not seen.

    `reference` and `pool` have columns text, label (1 is spam) and those of `COLUMNS`.
    """

    model: Pipeline
    reference: pd.DataFrame
    pool: pd.DataFrame
    synthetic: bool


@dataclass(frozen=True)
class Kind:
    """One way in which traffic changes: its name, its story, and what it does to a message.

    `spoil(text, label, other)` returns the new (text, label) of a message; `other` is a random
    legitimate text.
    """

    name: str
    story: str
    spoil: Callable[[str, int, str], tuple[str, int]]


def _good_words(text: str, label: int, other: str) -> tuple[str, int]:
    return (f"{text} {other}", label) if label else (text, label)


def _cut(text: str, label: int, other: str) -> tuple[str, int]:
    return text[:CUT_AT], label


def _wanted(text: str, label: int, other: str) -> tuple[str, int]:
    return text, 0


KINDS: dict[str, Kind] = {
    "healthy": Kind(
        "Healthy", "The traffic stays what it was.", lambda text, label, other: (text, label)
    ),
    # D. Lowd, C. Meek, "Good Word Attacks on Statistical Spam Filters", CEAS 2005.
    "adversarial": Kind(
        "Good-word attack", "Spammers append an innocent message to their own.", _good_words
    ),
    "broken": Kind(
        "Broken pipeline",
        f"A gateway cuts messages after {CUT_AT} characters.",
        _cut,
    ),
    "concept": Kind(
        "Concept drift",
        "People come to want what they used to report as spam: same messages, other labels.",
        _wanted,
    ),
}


def train(messages: pd.DataFrame, *, seed: int = 0) -> Filter:
    """Train on 40 % of the messages (columns text, label of "ham" and "spam"); keep 30 % as the
    reference and 30 % as the pool from which traffic is drawn."""
    shuffled = messages.sample(frac=1, random_state=seed, ignore_index=True)
    labels = (shuffled["label"] == "spam").astype(int)
    first, second = int(0.4 * len(shuffled)), int(0.7 * len(shuffled))
    model = make_pipeline(
        TfidfVectorizer(min_df=2, sublinear_tf=True),
        LogisticRegression(C=10.0, class_weight="balanced", max_iter=500),
    )
    model.fit(shuffled["text"][:first], labels[:first])
    parts = [
        describe(model, shuffled["text"][part], labels[part])
        for part in (slice(first, second), slice(second, None))
    ]
    return Filter(model, *parts, synthetic=bool(messages.attrs.get("synthetic")))


def describe(model: Pipeline, texts: pd.Series, labels: pd.Series) -> pd.DataFrame:
    """A row a message: text, label and the columns that are watched."""
    texts = texts.reset_index(drop=True)
    words = model[0]
    analyse, vocabulary = words.build_analyzer(), words.vocabulary_
    rows = []
    for text in texts:
        tokens = analyse(text)
        size = max(len(text), 1)
        unknown = sum(token not in vocabulary for token in tokens) / max(len(tokens), 1)
        digits = sum(map(str.isdigit, text)) / size
        rows.append((len(text), digits, sum(map(str.isupper, text)) / size, unknown))
    frame = pd.DataFrame(rows, columns=list(COLUMNS)[:-1])
    frame["score"] = model.predict_proba(texts)[:, 1]
    return frame.assign(text=texts, label=labels.to_numpy())


def traffic(trained: Filter, scene: Scene) -> pd.DataFrame:
    """Twelve weeks of 200 messages: the columns of `describe` and `week`.

    Messages and their fate are drawn from the seed alone, so that a stronger drift touches the
    same messages and more. Raises ValueError for a kind that is none of `KINDS`.
    """
    if scene.kind not in KINDS:
        raise ValueError(f"There is no drift called {scene.kind!r}; choose {', '.join(KINDS)}.")
    generator = np.random.default_rng(scene.seed)
    size = WEEKS * PER_WEEK
    drawn = generator.integers(len(trained.pool), size=size)
    fate = generator.random(size)
    legitimate = trained.pool.loc[trained.pool["label"] == 0, "text"].to_numpy()
    others = legitimate[generator.integers(len(legitimate), size=size)]
    log = trained.pool.iloc[drawn].reset_index(drop=True)
    log["week"] = np.repeat(np.arange(1, WEEKS + 1), PER_WEEK)
    touched = np.flatnonzero((log["week"] >= scene.start) & (fate < scene.strength))
    texts, labels = log["text"].tolist(), log["label"].tolist()
    changed = []
    for i in touched:
        text, labels[i] = KINDS[scene.kind].spoil(texts[i], labels[i], others[i])
        if text != texts[i]:
            texts[i] = text
            changed.append(i)
    log["text"], log["label"] = texts, labels
    if changed:
        now = describe(trained.model, log["text"].iloc[changed], log["label"].iloc[changed])
        for name in COLUMNS:
            values = log[name].to_numpy(copy=True)
            values[changed] = now[name]
            log[name] = values
    return log


def drift(reference: pd.DataFrame, current: pd.DataFrame, *, alpha: float = 0.01) -> pd.DataFrame:
    """How far each column moved: one row a column, the farthest over its threshold first.

    `distance` is the Kolmogorov-Smirnov statistic D (0..1, the largest gap between the two
    cumulative distributions). `threshold` is sqrt(ln(2 / a) / 2 * (n + m) / (n m)), its
    asymptotic critical value (Smirnov, 1948), at a = alpha over the number of columns, so that
    clean data raise a false alarm in any column at most in a share `alpha` of the reports.
    Raises ValueError when either side has no rows.
    """
    n, m = len(reference), len(current)
    if not n or not m:
        raise ValueError("Drift needs at least one row in the reference and in the current data.")
    threshold = float(np.sqrt(np.log(2 * len(COLUMNS) / alpha) / 2 * (n + m) / (n * m)))
    rows = [
        (
            name,
            stats.ks_2samp(
                reference[name].to_numpy(float), current[name].to_numpy(float), method="asymp"
            ).statistic,
        )
        for name in COLUMNS
    ]
    frame = pd.DataFrame(rows, columns=["column", "distance"])
    frame["threshold"] = threshold
    frame["drifted"] = frame["distance"] > threshold
    return frame.sort_values("distance", ascending=False, ignore_index=True)


def weekly(log: pd.DataFrame) -> pd.DataFrame:
    """Performance by week: messages, accuracy with its 95 % Wilson interval, share of spam caught
    (not a number in a week without spam)."""
    said, spam = log["score"] >= 0.5, log["label"] == 1
    log = log.assign(right=said == spam, caught=np.where(spam, said, np.nan))
    frame = log.groupby("week").agg(
        messages=("right", "size"), right=("right", "sum"), caught=("caught", "mean")
    )
    bounds = [
        stats.binomtest(int(k), int(n)).proportion_ci(method="wilson")
        for k, n in zip(frame["right"], frame["messages"])
    ]
    frame["accuracy"] = frame["right"] / frame["messages"]
    frame["low"], frame["high"] = [b.low for b in bounds], [b.high for b in bounds]
    return frame.reset_index()


def accuracy(rows: pd.DataFrame) -> float:
    """The share of messages judged right at a score of one half."""
    return float(((rows["score"] >= 0.5) == (rows["label"] == 1)).mean())


def fell(reference: pd.DataFrame, current: pd.DataFrame) -> bool:
    """Whether accuracy is lower than on the reference by more than chance explains: two
    proportions, one-sided, at 2.5 %."""
    before, after = accuracy(reference), accuracy(current)
    spread = before * (1 - before) / len(reference) + after * (1 - after) / len(current)
    return before - after > 1.96 * spread**0.5


def verdict(
    drift: pd.DataFrame, reference: pd.DataFrame, current: pd.DataFrame
) -> tuple[str, bool]:
    """The page's sentence, and whether it is bad news."""
    before, after = accuracy(reference), accuracy(current)
    moved, worse = int(drift["drifted"].sum()), fell(reference, current)
    columns = f"{moved} of {len(drift)} columns drifted"
    change = f"accuracy fell from {before:.1%} to {after:.1%}"
    held = f"accuracy holds at {after:.1%} ({before:.1%} on the reference)"
    if moved and worse:
        return f"The data changed and it matters: {columns}, and {change}.", True
    if moved:
        return f"The data changed, but it does not hurt yet: {columns}, {held}.", False
    if worse:
        return f"No column drifted, and yet {change}: this cannot be seen without labels.", True
    return f"Nothing to do: no column drifted, and {held}.", False
