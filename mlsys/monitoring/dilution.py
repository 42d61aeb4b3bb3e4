"""A scene that touches a part of the traffic only: how weak may a change be and still be seen?

`diluted` takes each row either from the scene or from the world in which nothing happens, so that a
share of the mails changes and the rest does not. `traffic` makes both worlds, row by row alike.
"""

import numpy as np
import pandas as pd

from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.traffic import Traffic, traffic


def diluted(
    scene: str = "healthy", share: float = 1.0, *, per_day: int = 500, seed: int = 0
) -> Traffic:
    """A scene of which a `share` (0 to 1) of the rows is touched; 1 is the scene itself.

    A larger share touches the same rows and more. Raises MonitoringError for another share, or
    when there is no such scene.
    """
    if not 0 <= share <= 1:
        raise MonitoringError(f"The share of rows touched lies from 0 to 1; it is {share}.")
    made = traffic(scene, per_day=per_day, seed=seed)
    if share == 1 or scene == "healthy":
        return made
    calm = traffic("healthy", per_day=per_day, seed=seed)
    rng = np.random.default_rng([seed, 4])
    frames = [
        _either(rng.random(len(touched)) < share, touched, untouched)
        for touched, untouched in ((made.reference, calm.reference), (made.live, calm.live))
    ]
    return Traffic(made.scene, *frames, made.change_at if share else None)


def _either(hit: np.ndarray, one: pd.DataFrame, other: pd.DataFrame) -> pd.DataFrame:
    """Rows of `one` where `hit`, of `other` elsewhere; both have the same ids in the same order."""
    return pd.concat([one[hit], other[~hit]]).sort_index()
