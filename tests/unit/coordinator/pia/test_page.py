"""The page: self-contained, what went wrong first, numbers as in the document, nothing that the linter refuses."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from coordinator.pia.build import build
from coordinator.pia.render import render
from privacy.assessment.claims import evaluate
from privacy.assessment.evidence import load
from privacy.assessment.pia_document import document
from privacy.assessment.pia_schema import Pia, Status
from privacy.assessment.recompute import no_guarantee_reason
from privacy.assessment.wording import WordingError, lint_html
from privacy.link.canonical import canonical
from tests.unit.coordinator.pia.bundles import HOSPITALS, Run, agreement, key, plain_files, write


def page(folder: Path, files: dict[str, bytes]) -> tuple[Pia, str]:
    made = build(write(folder, files), identity=key("coordinator"))
    return made.document, made.html.read_text(encoding="utf-8")


def first_page(html: str) -> str:
    return html[: html.index("<nav>")]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Pia, str]:
    return page(tmp_path_factory.mktemp("plain"), dict(plain_files()))


def test_is_one_file_without_script_or_remote_asset(plain: tuple[Pia, str]) -> None:
    _, html = plain
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|https?://|\bon\w+=", html)
    assert "@media print" in html
    assert html.count("<svg") == 4


def test_text_from_the_study_file_is_escaped_and_quoted(plain: tuple[Pia, str]) -> None:
    _, html = plain
    assert "a &lt;test&gt; of the page" in html
    assert "<test>" not in html


def test_every_number_of_the_views_is_a_field_of_the_document(plain: tuple[Pia, str]) -> None:
    pia, html = plain
    for view in pia.dp.views:
        assert view.epsilon is not None
        assert f'<td class="n">{view.epsilon:.4g}</td>' in html


def test_the_first_page_holds_decision_failures_and_gaps_before_anything_else(plain: tuple[Pia, str]) -> None:
    _, html = plain
    places = [
        html.index(words) for words in ("INCOMPLETE", "Failed checks and tests", "Open gaps", "Contents")
    ]
    assert places == sorted(places)
    assert "add/remove" in first_page(html)


@pytest.mark.threat("FL-36", control="C-HONEST")
def test_unanswered_questions_are_framed_in_red_with_their_owner(plain: tuple[Pia, str]) -> None:
    pia, html = plain
    assert all(question.state == "MISSING" and question.answer is None for question in pia.human_inputs)
    assert {question.hospital for question in pia.human_inputs} == {"joint", *HOSPITALS}
    for question in pia.human_inputs:
        box = html.index(question.question)
        opening = html.rindex('<div class="question', 0, box)
        assert 'class="question MISSING"' in html[opening:box]
        assert question.owner.replace("'", "&#39;") in html[box : html.index("</div>", box)]
    assert ".question { border: 2px solid var(--red)" in html


def test_an_answer_is_shown_as_its_authors_words_and_may_say_what_we_may_not(tmp_path: Path) -> None:
    files = dict(plain_files())
    build(write(tmp_path, files), identity=key("coordinator"))
    questions = json.loads((tmp_path / "evidence/human.json").read_text())
    for question in questions:
        question |= {
            "state": "FINAL",
            "answer": "The extract is anonymous.",
            "by": "A. Person",
            "at": "2026-05-02",
        }
    pia, html = page(tmp_path, {"evidence/human.json": canonical(questions)})
    assert "The extract is anonymous." in html
    assert "Nothing was filled in" not in html
    assert next(section for section in pia.sections if section.id == "principles").status is Status.STATED


@pytest.mark.threat("FL-36", control="C-HONEST")
def test_a_page_that_promises_too_much_is_not_written(plain: tuple[Pia, str]) -> None:
    pia, _ = plain
    with pytest.raises(WordingError, match="anonymous"):
        render(pia.model_copy(update={"headline": "The results are anonymous."}))
    with pytest.raises(WordingError, match="adjacency"):
        render(pia.model_copy(update={"headline": "Epsilon 3 at delta 1e-5 for a patient."}))


@pytest.mark.threat("FL-05", control="C-DISCLOSE")
def test_the_page_says_that_properties_of_a_hospital_are_not_hidden(plain: tuple[Pia, str]) -> None:
    _, html = plain
    assert "Properties of a hospital (its size, case mix, event rate) are not hidden" in html


def test_a_missing_hospital_and_its_missing_ledger_are_on_page_one(tmp_path: Path) -> None:
    run = Run(agreement(), silent={2: ("south",)}, lost_ledgers=("south",))
    pia, html = page(tmp_path, run.files())
    assert {"missing_hospital", "missing_ledger"} <= {alert.kind for alert in pia.alerts}
    assert "south did not finish round 2 (upload)" in first_page(html)
    assert "because no closed ledger shows what south charged" in first_page(html)
    by_id = {claim.id: claim for claim in pia.claims}
    assert "south in round 2" in by_id["E-MISSING"].text
    assert by_id["E-LEDGER-south"].status is Status.GAP
    assert by_id["E-RECEIPTS"].status is Status.VERIFIED
    south = next(item for item in pia.dp.per_hospital if item.hospital == "south")
    assert (south.epsilon_run, south.status) == (None, Status.GAP)


def test_a_silent_hospital_has_reserved_and_not_spent(tmp_path: Path) -> None:
    pia, _ = page(tmp_path, Run(agreement(), silent={2: ("south",)}).files())
    reserved = {item.hospital: item.reserved_only for item in pia.dp.per_hospital}
    assert reserved == {"east": 0, "north": 0, "south": 1, "west": 0}
    assert len({item.epsilon_run for item in pia.dp.per_hospital}) == 1
    assert "south" in next(claim.text for claim in pia.claims if claim.id == "E-RANK")


def test_an_aborted_round_is_on_page_one_and_stays_charged(tmp_path: Path) -> None:
    pia, html = page(tmp_path, Run(agreement(), aborted=(2,)).files())
    assert "Round 2 (train) was aborted" in first_page(html)
    assert "fewer than 3 hospitals uploaded" in first_page(html)
    by_id = {claim.id: claim for claim in pia.claims}
    assert by_id["E-PAID"].status is Status.VERIFIED
    assert by_id["E-AGREED"].status is Status.FAILED, "one training round more than the plan was charged"


@pytest.mark.threat("FL-04", control="C-RANK")
def test_mode_none_has_no_number_anywhere_and_says_so_on_page_one(tmp_path: Path) -> None:
    run = Run(agreement("none", 'kind = "none"', 3), silent={2: ("south",)})
    pia, html = page(tmp_path, run.files())
    assert pia.dp.kind == "none"
    assert not pia.dp.views
    assert all(item.epsilon_run is None for item in pia.dp.per_hospital)
    assert "nothing is noised" in first_page(html)
    assert "until south is left alone" in first_page(html)
    assert next(claim for claim in pia.claims if claim.id == "E-GUARANTEE").status is Status.UNDEFINED
    states = {control.id: control.on for threat in pia.threats for control in threat.controls}
    assert (states["C-DP"], states["C-SECAGG"]) == ("OFF", "ON")
    assert not re.search(r"epsilon \d", html)


@pytest.mark.parametrize("stage", ["mondrian", "synthetic_sdv"])
def test_a_stage_that_voids_the_guarantee_is_named(stage: str) -> None:
    assert stage in no_guarantee_reason("local", stage)
    assert not no_guarantee_reason("local", "generalize")


def test_a_result_that_says_there_is_no_guarantee_wins_over_the_ledgers(tmp_path: Path) -> None:
    files = dict(plain_files())
    result = json.loads(files["evidence/result.json"])
    result["guarantee"] = {"kind": "none", "reason": "a stage outside the plan touched the rows"}
    pia, html = page(tmp_path, {**files, "evidence/result.json": canonical(result)})
    assert pia.dp.kind == "none"
    assert "No formal guarantee" in first_page(html)


def test_the_stage_drop_carries_the_mixture_guarantee() -> None:
    run = Run(agreement("local", 'kind = "drop"\nk = 2', 1))
    claims = {claim.id: claim for claim in evaluate(load(run.files()))}
    assert "one patient can move 2 rows" in claims["E-STAGE-COST"].text
    assert {claims[name].status for name in ("E-GUARANTEE", "E-AGREED", "E-PLAN")} == {Status.VERIFIED}


def test_scores_of_a_simulation_are_labeled_and_no_hospital_is_scored_alone(tmp_path: Path) -> None:
    scores = {
        "label": "simulation only: one machine held all data",
        "test": {"c_index": 0.6931, "ibs": 0.171, "n": 430},
        "baselines": {
            "pooled_cox": {"c_index": 0.7112, "ibs": 0.166},
            "local_only": {"c_index": 0.6643, "per_hospital": {"east": 0.61234}},
        },
    }
    pia, html = page(tmp_path, {**plain_files(), "evidence/simulation.json": canonical(scores)})
    assert [measure.c_index for measure in pia.results] == ["0.693", "0.711", "0.664"]
    assert "0.612" not in html
    assert "Simulation" in first_page(html)


def test_budgets_draw_a_line_and_an_overdrawn_one_fails(tmp_path: Path) -> None:
    budgets = {name: {"epsilon_total": 2.0, "delta_total": 1e-5} for name in HOSPITALS}
    pia, html = page(tmp_path, {**plain_files(), "evidence/budgets.json": canonical(budgets)})
    assert "budget 2" in html
    assert next(claim for claim in pia.claims if claim.id == "E-BUDGET").status is Status.FAILED


def test_the_page_is_a_function_of_the_evidence(plain: tuple[Pia, str], tmp_path: Path) -> None:
    pia, html = plain
    again, html_again = page(tmp_path, dict(plain_files()))
    assert (again, html_again) == (pia, html)
    assert document(load(dict(plain_files()))).pia_id != pia.pia_id, "register and questions are evidence too"
    assert not lint_html(html)
