"""A scene in a part of the traffic."""

import pandas as pd
import pytest

from mlsys.monitoring.dilution import diluted
from mlsys.monitoring.errors import MonitoringError
from mlsys.monitoring.traffic import traffic


@pytest.mark.parametrize("scene", ["units", "covariate", "label_shift"])
def test_a_larger_share_touches_the_same_rows_and_more(scene):
    calm = traffic("healthy", per_day=40).live
    rows = [diluted(scene, share, per_day=40).live for share in (0.3, 0.7, 1.0)]
    columns = ["size_kb", "country", "score"]
    touched = [(one[columns] != calm[columns]).any(axis=1) for one in rows]
    assert touched[0].any() and touched[1][touched[0]].all() and touched[2][touched[1]].all()
    assert touched[0].sum() < touched[1].sum() < touched[2].sum()


def test_all_of_it_is_the_scene_and_none_of_it_is_ordinary_mail():
    made = diluted("units", 1.0, per_day=20)
    pd.testing.assert_frame_equal(made.live, traffic("units", per_day=20).live)
    nothing = diluted("units", 0.0, per_day=20)
    pd.testing.assert_frame_equal(nothing.live, traffic("healthy", per_day=20).live)
    assert made.change_at is not None and nothing.change_at is None


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_that_is_none_gets_a_sentence(share):
    with pytest.raises(MonitoringError, match="lies from 0 to 1"):
        diluted("units", share)
