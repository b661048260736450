import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from hospital_node.client_app import TaskError, make_client_app
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.local_study import LocalStudy
from privacy.studies.agreement import build
from privacy.studies.grid import time_grid
from privacy.studies.life_table import baseline
from privacy.studies.study import parse_study
from privacy.studies.trained_model import layout_of
from tests.unit.hospital_node.survival.patients import made_up_cohort

NODE = 7


@pytest.fixture(scope="module")
def study() -> LocalStudy:
    text = files("deploy").joinpath("actg175.toml").read_text(encoding="utf-8")
    agreement = build(parse_study(text.replace('mode = "local"', 'mode = "none"'), "demo"))
    cohort = made_up_cohort(50)
    wide = np.zeros((50, len(agreement.columns)))
    wide[:, :3] = cohort.x
    cohort = type(cohort)(wide, cohort.time, cohort.event)
    return LocalStudy.of(agreement, "north", cohort, DiscreteGaussian(), OsEntropy())


def ask(
    study: LocalStudy, theta: np.ndarray, **config: object
) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    app = make_client_app(study)
    from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
    from flwr.supercore.task_identity import TaskIdentity

    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, NODE, 0
    arrays = ArrayRecord({f"part{i}": Array(part) for i, part in enumerate(np.atleast_2d(theta))})
    content = RecordDict({"arrays": arrays, "config": ConfigRecord(config)})
    context = Context(run_id=1, node_id=NODE, node_config={}, state=RecordDict(), run_config={})
    reply = app(Message(content, NODE, "train"), context)
    answer = {name: array.numpy() for name, array in reply.content.array_records["arrays"].items()}
    return answer, dict(reply.content.metric_records["metrics"])


def test_the_agreement_and_the_layout_count_the_same_parameters() -> None:
    for family in ("piecewise_exponential", "mlp"):
        text = files("deploy").joinpath("actg175.toml").read_text(encoding="utf-8")
        text = text.replace('mode = "local"', 'mode = "none"').replace("piecewise_exponential", family)
        agreement = build(parse_study(text, "demo"))
        assert layout_of(agreement).dim == agreement.parameters
        np.testing.assert_allclose(agreement.times_days, time_grid(1095, 10), rtol=1e-15)


def test_the_life_table_counts_once_and_weighs_once(study: LocalStudy) -> None:
    answer, metrics = ask(study, np.zeros(1), task="life_table", round=0)
    assert answer["part0"].sum() == 50
    assert metrics == {"num-examples": 1}


@pytest.mark.threat("FL-32", control="C-METRICS")
def test_training_answers_the_model_and_the_declared_size_and_nothing_else(study: LocalStudy) -> None:
    table = study.life_table()
    theta = study.model.layout.start(baseline(table[:10], table[10:]))
    answer, metrics = ask(study, theta, task="train", round=1)
    np.testing.assert_array_equal(answer["part0"], study.train(theta, 1))
    assert answer["part0"].dtype == np.float64
    # The hospital has 50 patients; only the size that it declared leaves.
    assert metrics == {"num-examples": 430}


def test_an_unknown_task_is_refused(study: LocalStudy) -> None:
    with pytest.raises(TaskError, match="refuse it"):
        ask(study, np.zeros(1), task="evaluate", round=1)


def test_more_than_one_array_is_no_model(study: LocalStudy) -> None:
    with pytest.raises(TaskError, match="2 arrays"):
        ask(study, np.zeros((2, 3)), task="train", round=1)


def test_a_study_prints_no_patient(study: LocalStudy) -> None:
    assert "cohort" not in repr(study)
    assert "FollowUp" not in repr(study)


def test_linear_training_loads_no_framework() -> None:
    program = """
import sys
import numpy as np
import hospital_node.client_app, hospital_node.dp_sgd, deploy.baselines, deploy.predict
from hospital_node.survival.model import build_model
from privacy.studies.layout import Layout
build_model(Layout(10, ("age",))); build_model(Layout(10, ("age",), (4,)))
print([name for name in ("torch", "opacus", "lifelines", "flwr") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
