"""Mail traffic of a scene, with the model's answers and the labels that come later.

`traffic(name)` makes reference and live rows of a scene of `scenes` in a fraction of a second, the
same for the same seed. `service` serves the same model over HTTP, and `drive` sends it the rows.
The world is generated: p(spam | mail) is known, so what a monitor says can be held against truth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.special import expit

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.scenes import DAYS, SCENES, Scene

START = pd.Timestamp("2026-03-02", tz="UTC")  # a Monday
REFERENCE_DAYS = 14
NUMBERS = ("size_kb", "links", "sender_age_days", "recipients", "capitals")
CATEGORIES = ("client", "country")
FEATURES = NUMBERS + CATEGORIES
CLIENTS = {"web": 0.45, "phone": 0.35, "api": 0.20}
COUNTRIES = {"de": 0.35, "fr": 0.25, "in": 0.20, "us": 0.15, "br": 0.05}
THRESHOLD = 0.5


@dataclass(frozen=True)
class Traffic:
    """A scene's rows. Both frames: id, at, the features, score, prediction, label, label_at.

    `label_at` is missing where a label never comes; the label is there all the same, for who wants
    to know the truth. `change_at` is the true moment of change or None.
    """

    scene: Scene
    reference: pd.DataFrame
    live: pd.DataFrame
    change_at: pd.Timestamp | None


def _population(n: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size_kb": rng.lognormal(3.0, 0.9, n),
            "links": rng.negative_binomial(1.2, 0.3, n).astype(float),
            "sender_age_days": rng.lognormal(5.0, 1.3, n),
            "recipients": 1.0 + rng.geometric(0.35, n),
            "capitals": rng.beta(2, 10, n),
            "client": rng.choice(list(CLIENTS), n, p=list(CLIENTS.values())),
            "country": rng.choice(list(COUNTRIES), n, p=list(COUNTRIES.values())),
        }
    )


def spam_probability(mail: pd.DataFrame, *, disliked: np.ndarray | float = 0.0) -> np.ndarray:
    """p(spam | mail), the truth of this world; `disliked` (0 to 1) turns against automatic mail."""
    api = (mail["client"] == "api").to_numpy()
    return expit(
        -4.2
        + 2.4 * np.log1p(mail["links"].to_numpy())
        - 1.5 * (np.log1p(mail["sender_age_days"].to_numpy()) - 4)
        + 14.0 * (mail["capitals"].to_numpy() - 0.17)
        - 0.8 * (np.log1p(mail["size_kb"].to_numpy()) - 3)
        + 0.4 * np.log1p(mail["recipients"].to_numpy())
        - 1.0 * api
        + 6.0 * api * disliked
        - 0.6 * (mail["country"] == "de").to_numpy()
    )


@lru_cache(maxsize=4)
def model(seed: int = 0):
    """The gateway's classifier, trained on 20,000 mails of before: logistic regression.

    Made anew from the seed wherever it is needed: nothing is unpickled. A missing number becomes
    the median, an unknown category none of the known ones.
    """
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

    rng = np.random.default_rng([seed, 1])
    mail = _population(20_000, rng)
    label = (rng.random(len(mail)) < spam_probability(mail)).astype(int)
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True),
        FunctionTransformer(np.log1p, feature_names_out="one-to-one"),
        StandardScaler(),
    )
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer((numbers, list(NUMBERS)), (words, list(CATEGORIES)))
    return make_pipeline(columns, LogisticRegression(C=10, max_iter=300)).fit(mail, label)


def predict(mail: pd.DataFrame, *, seed: int = 0) -> np.ndarray:
    """The model's probabilities of spam for rows with the columns of `FEATURES`."""
    if not len(mail):
        return np.zeros(0)
    return model(seed)[-1].predict_proba(encoded(mail, seed=seed))[:, 1]


def encoded(mail: pd.DataFrame, *, seed: int = 0) -> np.ndarray:
    """One row or more as the model's last layer reads them, (n, inputs)."""
    table = mail[list(FEATURES)].copy()
    for name in NUMBERS:
        # A negative or infinite number is no number for the model; quality checks report it.
        column = table[name].astype(float)
        table[name] = column.where(np.isfinite(column) & (column > -1))
    for name in CATEGORIES:
        table[name] = table[name].astype(object).where(table[name].notna(), "missing")
    return model(seed)[:-1].transform(table)


def _strength(scene: Scene, day: np.ndarray) -> np.ndarray:
    """0 before the change, 1 when it is complete, by day of the live traffic."""
    if scene.change_day is None:
        return np.zeros(len(day))
    if not scene.ramp_days:
        return (day >= scene.change_day).astype(float)
    return np.clip((day - scene.change_day) / scene.ramp_days, 0, 1)


def _new_market(mail: pd.DataFrame, hit: np.ndarray, rng: np.random.Generator) -> None:
    mail.loc[hit, "country"] = "br"
    mail.loc[hit, "client"] = rng.choice(["api", "web"], hit.sum(), p=[0.7, 0.3])
    mail.loc[hit, "size_kb"] *= 2.0
    mail.loc[hit, "sender_age_days"] = rng.lognormal(3.0, 0.7, hit.sum())


def _weekend(mail: pd.DataFrame, at: pd.Series, rng: np.random.Generator) -> None:
    hit = (at.dt.day_of_week >= 5).to_numpy() & (rng.random(len(mail)) < 0.6)
    mail.loc[hit, "client"] = "phone"
    mail.loc[hit, "size_kb"] *= 0.6
    mail.loc[hit, "recipients"] = 2.0


def _learned(mail: pd.DataFrame, hit: np.ndarray, rng: np.random.Generator) -> None:
    mail.loc[hit, "links"] = np.floor(mail.loc[hit, "links"] * 0.3)
    mail.loc[hit, "capitals"] = mail.loc[hit, "capitals"] * 0.6
    mail.loc[hit, "sender_age_days"] = rng.lognormal(6.0, 0.8, hit.sum())


def _units(mail: pd.DataFrame, hit: np.ndarray) -> None:
    mail.loc[hit, "size_kb"] *= 1024


def _null(mail: pd.DataFrame, hit: np.ndarray) -> None:
    mail.loc[hit, "sender_age_days"] = np.nan


def _renamed(mail: pd.DataFrame, hit: np.ndarray) -> None:
    mail.loc[hit & (mail["client"] == "phone").to_numpy(), "client"] = "mobile"


PIPELINE: dict[str, Callable[[pd.DataFrame, np.ndarray], None]] = {
    "units": _units,
    "null_column": _null,
    "renamed": _renamed,
}


def _rows(
    scene: Scene, first: pd.Timestamp, days: float, n: int, live: bool, seed: int
) -> pd.DataFrame:
    rng = np.random.default_rng([seed, 2 + live])
    # More mail by day than by night: a cosine with its top at 14:00 UTC, by rejection.
    day = rng.random(3 * n) * days
    busy = 0.6 + 0.4 * np.cos(2 * np.pi * (day % 1 - 14 / 24))
    day = np.sort(day[rng.random(3 * n) < busy][:n])
    n = len(day)
    at = pd.Series(first + pd.to_timedelta(day, unit="D")).dt.floor("us")
    strength = _strength(scene, day) if live else np.zeros(n)
    mail = _population(n, rng)
    if scene.name == "seasonal":
        _weekend(mail, at, rng)
    if scene.name == "covariate":
        _new_market(mail, rng.random(n) < 0.6 * strength, rng)
    if scene.name == "gradual":
        mail["size_kb"] *= np.exp(1.0 * strength)
        mail["links"] += rng.poisson(2.0 * strength)
    disliked = strength if scene.name == "concept" else 0.0
    label = (rng.random(n) < spam_probability(mail, disliked=disliked)).astype(int)
    if scene.name == "label_shift":
        mail, label = _more_spam(mail, label, strength, rng)
    if scene.name == "adversarial":
        _learned(mail, (label == 1) & (rng.random(n) < 0.8 * strength), rng)
    mail.loc[rng.random(n) < 0.02, "sender_age_days"] = np.nan
    if scene.name in PIPELINE:
        PIPELINE[scene.name](mail, strength > 0)
    mail.insert(0, "id", [f"{'m' if live else 'r'}{i:07d}" for i in range(n)])
    mail.insert(1, "at", at)
    mail["score"] = predict(mail)
    mail["prediction"] = (mail["score"] >= THRESHOLD).astype(int)
    mail["label"] = label
    # Spam is reported within a day or so; that nobody complained is known after some days.
    wait = rng.exponential(np.where(label == 1, 1.0, 3.0))
    told = rng.random(n) < 0.9
    mail["label_at"] = (at + pd.to_timedelta(wait, unit="D")).dt.floor("us").where(told)
    return mail


def _more_spam(
    mail: pd.DataFrame, label: np.ndarray, strength: np.ndarray, rng: np.random.Generator
) -> tuple[pd.DataFrame, np.ndarray]:
    """Ham gives way to spam like the spam there is: p(spam) doubles, p(mail | spam) stays."""
    share = label.mean()
    turned = (label == 0) & (rng.random(len(label)) < strength * share / (1 - share))
    # New mail, not copies of the old: repeated rows would look like a change of their own.
    fresh, wanted = [], int(turned.sum())
    while sum(map(len, fresh)) < wanted:
        more = _population(len(label), rng)
        fresh.append(more[rng.random(len(more)) < spam_probability(more)])
    if wanted:
        mail.loc[turned] = pd.concat(fresh)[:wanted].to_numpy()
    return mail, np.where(turned, 1, label)


def traffic(
    scene: str | Scene = "healthy", *, per_day: int = 500, days: int = DAYS, seed: int = 0
) -> Traffic:
    """Two weeks of reference and `days` days of live mail of a scene.

    Raises MonitoringError when there is no such scene, or for more than 5 million rows.
    """
    if isinstance(scene, str):
        if scene not in SCENES:
            raise MonitoringError(f"There is no scene {scene!r}; there are {', '.join(SCENES)}.")
        scene = SCENES[scene]
    if per_day < 1 or days < 1 or per_day * (days + REFERENCE_DAYS) > 5_000_000:
        raise MonitoringError(
            f"{per_day} mails a day over {days} days: ask for 1 or more, 5 million in all at most."
        )
    before = START - pd.Timedelta(days=REFERENCE_DAYS)
    reference = _rows(scene, before, REFERENCE_DAYS, per_day * REFERENCE_DAYS, False, seed)
    live = _rows(scene, START, days, per_day * days, True, seed)
    change = None
    if scene.change_day is not None:
        change = START + pd.Timedelta(days=scene.change_day)
    return Traffic(scene, reference, live, change)


def scene_frame(scene: str | Scene, *, per_day: int = 500, days: int = DAYS, seed: int = 0):
    """The live rows alone: `traffic(scene, …).live`."""
    return traffic(scene, per_day=per_day, days=days, seed=seed).live
