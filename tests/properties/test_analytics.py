"""One patient moves the sum of an ask by at most its bound, whoever the patient is."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hospital_node.analytics.rows import Asked, rows_of_ask
from hospital_node.statistics.sums import summed
from privacy.analytics.asks import Ask
from privacy.guarantees.release import Release
from tests.unit.privacy.analytics.test_asks import asking, query

EVERYTHING = (
    'kaplan_meier = true\nkaplan_meier_by = ["age"]\n'
    + query('kind = "count"\nby = ["arm", "smoker"]\nwhere = {age = [0, 60]}')
    + query('kind = "mean"\nfield = "age"\nby = ["arm"]')
    + query('kind = "mean"\nfield = "marker"')
    + query('kind = "histogram"\nfield = "arm"\nby = ["smoker"]')
    + query('kind = "quantile"\nfield = "marker"')
)
ENTRY = '[[field]]\nname = "came"\ntype = "float"\nrole = "entry"\nunit = "days"\npurpose = "x"\n[[field]]'
ASKS = (*asking(EVERYTHING).asks, *asking("kaplan_meier = true", ("[[field]]", ENTRY)).asks)
WILD = st.one_of(st.floats(-1e308, 1e308), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 40.0, 60.0, 100.0]))


def one(draw: Callable[[st.SearchStrategy[Any]], Any], ask: Ask) -> Asked:
    cells = {
        "age": np.array([draw(WILD)]),
        "marker": np.array([draw(WILD)]),
        "arm": np.array([draw(st.sampled_from([0.0, 1.0, 2.0, np.nan]))]),
        "smoker": np.array([draw(st.sampled_from([0.0, 1.0, np.nan]))]),
    }
    left = draw(st.integers(0, 9))
    came = np.array([draw(st.integers(0, left))]) if ask.clip_l2 == 2**0.5 else None
    return Asked(cells, np.array([left]), np.array([draw(st.integers(0, 1))]), came, 10)


@pytest.mark.parametrize("ask", ASKS, ids=[f"{ask.name}-{ask.length}" for ask in ASKS])
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_a_patient_s_row_is_within_the_bound(ask: Ask, data: st.DataObject) -> None:
    patient = one(data.draw, ask)
    rows = rows_of_ask(ask, patient, np.zeros(0), lambda chosen: np.zeros(0))
    row = rows(slice(0, 1))
    assert row.shape == (1, ask.length)
    assert np.isfinite(row).all()
    # Before anything is clipped: a clip that worked would bend the answer.
    assert np.linalg.norm(row) <= ask.clip_l2 + 1e-12
    release = Release(ask.name, "gaussian", 1.0, clip_l2=ask.clip_l2)
    total = summed(1, rows, release, None)
    assert sum(int(unit) ** 2 for unit in total) <= release.sensitivity() ** 2
