"""The sparse graph in a study file: derived by the public rule, refused where it is not safe or saves nothing, in the agreement."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.study_cli import app
from privacy.link.canonical import canonical
from privacy.studies import graph_choice
from privacy.studies.agreement import AgreementError, build, from_bytes
from privacy.studies.refusals import StudyError
from privacy.studies.study import Study, parse_study
from secagg.params import Neighborhood
from secagg.sparse_table import STUDY_FAILURE, bits
from tests.study_files import text

SPARSE = 'graph = "sparse"'


def chosen(n: int, section: str, colluding: int = 1) -> str:
    """A study file of n hospitals with this section."""
    names = [f"h{place:03d}" for place in range(n)]
    sizes, quoted = ", ".join(f"{h} = 400" for h in names), ", ".join(f'"{h}"' for h in names)
    return text(
        ("n_public = {a = 400, b = 500, c = 600}", f"n_public = {{{sizes}}}"),
        (
            'hospitals = ["a", "b", "c"]',
            f"hospitals = [{quoted}]\ncolluding = {colluding}\n\n[secure_aggregation]\n{section}",
        ),
        ("[model]", "[model]\nrounds = 2\nlocal_steps = 1\nsample_rate = 1.0"),
    )


def study(n: int, section: str, colluding: int = 1) -> Study:
    return parse_study(chosen(n, section, colluding), "sparse.toml")


@pytest.mark.parametrize(
    ("n", "colluding", "expected"),
    [
        # The first ones by hand: with T = 1 a half of k plus one is enough, and k - t_k may be silent.
        (6, 1, Neighborhood(4, 3)),
        (12, 1, Neighborhood(6, 4)),
        # The table of SPEC.md, section 10.6, for a correctness of 2^-40.
        (100, 20, Neighborhood(42, 32)),
        (100, 33, Neighborhood(54, 44)),
        (300, 60, Neighborhood(112, 82)),
        (300, 100, Neighborhood(142, 112)),
    ],
)
def test_neighbors_follow_from_hospitals_colluding_and_dropout(
    n: int, colluding: int, expected: Neighborhood
) -> None:
    found = study(n, SPARSE, colluding)
    assert found.neighborhood == expected
    assert found.graph is not None
    assert found.graph.security_bits is None or found.graph.security_bits >= bits(STUDY_FAILURE)


def test_the_complete_graph_is_the_default() -> None:
    plain = study(6, "")
    assert (plain.neighborhood, plain.graph, build(plain).secagg.neighborhood) == (None, None, None)


@pytest.mark.parametrize(
    ("n", "section", "colluding", "sentence"),
    [
        (5, SPARSE, 1, "for larger consortia"),
        (3, SPARSE, 1, "every sum needs 3"),
        (100, f"{SPARSE}\ndropout = 0.4", 33, "declare a smaller dropout"),
        (6, f"{SPARSE}\nneighbors = 4", 1, "go together"),
        (6, "neighbors = 4", 1, "is for graph = 'sparse'"),
        (6, f"{SPARSE}\nneighbors = 5\nneighbor_threshold = 4", 1, "that is everybody"),
        (7, f"{SPARSE}\nneighbors = 5\nneighbor_threshold = 4", 1, "the degree must be even"),
        (12, f"{SPARSE}\nneighbors = 4\nneighbor_threshold = 3", 3, "not safe"),
        (1000, f"{SPARSE}\nneighbors = 64\nneighbor_threshold = 43", 333, "leave both out"),
        (6, 'graph = "small-world"', 1, "must be 'complete' or 'sparse'"),
    ],
)
def test_a_graph_that_is_not_safe_or_saves_nothing_is_refused_with_the_remedy(
    n: int, section: str, colluding: int, sentence: str
) -> None:
    with pytest.raises(StudyError, match=r"\[secure_aggregation\]") as refused:
        study(n, section, colluding)
    assert sentence in str(refused.value)


def test_without_the_check_an_unsafe_graph_would_be_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_choice, "check_neighborhood", lambda *_: None)
    assert study(12, f"{SPARSE}\nneighbors = 4\nneighbor_threshold = 3", 3).neighborhood == Neighborhood(4, 3)


def test_every_hospital_signs_the_choice() -> None:
    agreement = build(study(6, SPARSE))
    assert agreement.secagg.neighborhood == Neighborhood(4, 3)
    assert from_bytes(agreement.to_bytes()).secagg == agreement.secagg
    loosened = agreement.to_json()
    loosened["secagg"]["neighbor_threshold"] = 4
    with pytest.raises(AgreementError, match=r"secagg\.neighbor_threshold"):
        from_bytes(canonical(loosened))


def test_lint_and_price_say_what_was_chosen(tmp_path: Path) -> None:
    path = tmp_path / "sparse.toml"
    path.write_text(chosen(6, SPARSE), encoding="utf-8")
    linted = CliRunner().invoke(app, ["lint", str(path)])
    assert "each of 6 hospitals masks against 4 random neighbors and needs 3 of them" in linted.output
    assert "each hospital's policy.toml has to permit it (allow_sparse_graph)" in linted.output
    assert "below about 100 hospitals the complete graph" in linted.output
    priced = json.loads(CliRunner().invoke(app, ["price", str(path), "--json"]).output)
    assert priced["secure_aggregation"] == {
        "graph": "sparse",
        "neighbors": 4,
        "neighbor_threshold": 3,
        "hospitals": 6,
        "colluding": 1,
        "silent": 1,
        "security_failure_bits": None,
        "correctness_failure_bits": None,
    }
    assert "sparse graph" in CliRunner().invoke(app, ["price", str(path)]).output


def test_the_chance_is_never_called_smaller_than_it_is() -> None:
    """2^-40.04 is "at most 2^-40.0"."""
    graph = study(12, f"{SPARSE}\nneighbors = 4\nneighbor_threshold = 3").graph
    assert graph is not None
    assert (graph.security_bits, graph.correctness_bits) == (None, 0.0)
    assert "not small in each graph" in graph.sentence()
    rare = study(300, SPARSE, 60).graph
    assert rare is not None
    assert rare.security_bits is not None
    assert rare.security_bits <= bits(16 * graph_choice.security_failure(300, 60, 112, 82))


def test_no_noise_is_taken_back_over_the_sparse_graph() -> None:
    """There the sum over the signers alone may be solvable, and what they told for the whole set would be missing."""
    distributed = chosen(6, SPARSE).replace('mode = "local"', 'mode = "distributed"')
    distributed = distributed.replace("[model]\nrounds = 2\nlocal_steps = 1\nsample_rate = 1.0", "[model]")
    complete = distributed.replace(SPARSE, "")
    assert parse_study(complete, "complete.toml").spare_layers == 2
    assert parse_study(distributed, "sparse.toml").spare_layers == 0


def test_exact_sums_keep_the_complete_graph() -> None:
    """The gate of mode none counts one known set a round, which section 10 of the SPEC does not prove."""
    exact = ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"')
    body = chosen(12, SPARSE).replace("\nsample_rate = 1.0", "")
    assert exact[0] in body
    with pytest.raises(StudyError, match="in mode none leave it out"):
        parse_study(body.replace(*exact), "sparse.toml")
    assert parse_study(body.replace(*exact).replace(SPARSE, ""), "complete.toml").mode == "none"
