"""What a hospital checks before it reads a row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deploy.simulate import consortium, simulation_policy
from hospital_node import admission as admission_module
from hospital_node.admission import Admission, Admitted, StudyRefused
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.ledger_store import LedgerStore
from hospital_node.stated_terms import terms_of
from privacy.guarantees.plan import DpPlan
from privacy.ledgers.policy import Policy, check
from privacy.link.canonical import canonical, parse_canonical
from privacy.studies import agreement as agreement_module
from privacy.studies.study_tasks import expected_releases
from privacy.studies.training import resolve_training
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import Abort, StudyAnswer, StudyOffer
from tests.bent_link import ManualClock
from tests.consortium import HOSPITALS, Hand, World, keys_and_roster, offer, small_agreement, small_study
from tests.study_files import table, write_csv


def admission(tmp_path: Path, **changes: Any) -> Admission:
    """Hospital a; its table does not exist yet."""
    study = small_study()
    made = Admission(
        "a",
        keys_and_roster()[1].roster,
        simulation_policy(study),
        study,
        tmp_path / "not-there-yet.csv",
        tmp_path / "reports",
    )
    return replace(made, **changes)


def the_offer(agreement: bytes | None = None, roster: bytes | None = None) -> StudyOffer:
    return StudyOffer(
        small_agreement().to_bytes() if agreement is None else agreement,
        keys_and_roster()[1].roster.canonical if roster is None else roster,
    )


def refused(own: Admission, offer: StudyOffer) -> StudyRefused:
    with pytest.raises(StudyRefused) as caught:
        admit(own, offer)
    return caught.value


def admit(own: Admission, offer: StudyOffer) -> Admitted:
    clock, identity = ManualClock(), SecretBytes(bytes(32))
    own.reports.parent.mkdir(parents=True, exist_ok=True)
    with LedgerStore(own.reports.parent / "ledger.db", identity, clock) as ledger:
        return own.admit(own.agreement_of(offer), ledger, clock, DiscreteGaussian(), OsEntropy())


def tampered(change: Callable[[Any], None]) -> bytes:
    """The agreement with one thing changed, canonical again."""
    body = parse_canonical(small_agreement().to_bytes())
    change(body)
    return canonical(body)


def test_the_right_offer_gets_as_far_as_the_table(tmp_path: Path) -> None:
    """The control of all tests below: what they refuse is not refused here, the missing table is."""
    refusal = refused(admission(tmp_path), the_offer())
    assert "not-there-yet.csv" in refusal.reason
    assert (refusal.told, refusal.exit_code) == (Admission.TOLD, 2)


@pytest.mark.threat("FL-13", control="C-ENROL")
def test_another_roster_is_refused_before_data_is_read(tmp_path: Path) -> None:
    """The same hospitals with keys that somebody else made."""
    _, other = consortium(HOSPITALS, OsEntropy(), ManualClock())
    refusal = refused(admission(tmp_path), the_offer(roster=other.roster.canonical))
    assert refusal.reason == "the offer names another roster than the one this hospital signed"
    assert refusal.exit_code == 1


def test_another_study_than_the_accepted_one_is_refused_before_data_is_read(tmp_path: Path) -> None:
    other = small_agreement(('title = "A small study"', 'title = "Another"')).to_bytes()
    refusal = refused(admission(tmp_path), the_offer(other))
    assert "differs from the study file that this hospital accepted" in refusal.reason
    assert refusal.exit_code == 1


def test_a_hospital_that_accepts_any_study_takes_it_as_far_as_the_table(tmp_path: Path) -> None:
    other = small_agreement(('title = "A small study"', 'title = "Another"')).to_bytes()
    assert "not-there-yet" in refused(admission(tmp_path, study=None), the_offer(other)).reason


def test_a_study_of_other_hospitals_than_the_rosters_is_refused(tmp_path: Path) -> None:
    names = (
        (
            "n_public = {a = 400, b = 500, c = 600, d = 300}",
            "n_public = {a = 400, b = 500, c = 600, e = 300}",
        ),
        ('hospitals = ["a", "b", "c", "d"]', 'hospitals = ["a", "b", "c", "e"]'),
    )
    refusal = refused(admission(tmp_path, study=None), the_offer(small_agreement(*names).to_bytes()))
    assert "the study's hospitals are not those of the signed roster" in refusal.reason


def _study_epsilon(body: Any) -> None:
    body["study"]["privacy"]["epsilon"] = 30.0


def _plan_epsilon(body: Any) -> None:
    body["plan"]["epsilon"] = 30.0


def _less_noise(body: Any) -> None:
    body["plan"]["releases"][1]["noise_multiplier"] /= 2


def _threshold(body: Any) -> None:
    body["secagg"]["threshold"] = 2


def _ring(body: Any) -> None:
    body["secagg"]["modulus_bits"] = 32


def _clip(body: Any) -> None:
    body["training"]["clip_l2"] = 50.0


def _more_steps(body: Any) -> None:
    body["plan"]["releases"][1]["steps"] = 2


def _fewer_colluding(body: Any) -> None:
    body["secagg"]["colluding"] = 0


@pytest.mark.threat("FL-16", control="C-POLICY")
@pytest.mark.parametrize(
    ("change", "part"),
    [
        (_study_epsilon, "plan: its epsilon and delta are not those of the study"),
        (_plan_epsilon, "plan: its epsilon and delta are not those of the study"),
        (_less_noise, "plan: its noise costs epsilon"),
        (_more_steps, "plan.releases: are not the releases"),
        (_threshold, "secagg.threshold: differs from what the study file implies"),
        (_fewer_colluding, "secagg.colluding: differs from what the study file implies"),
        (_ring, "secagg.modulus_bits: differs from what the study file implies"),
        (_clip, "training.clip_l2: differs from what the study file implies"),
    ],
)
@pytest.mark.parametrize("pinned", [True, False])
def test_a_loosened_agreement_is_refused_before_data_is_read(
    tmp_path: Path, change: Callable[[Any], None], part: str, pinned: bool
) -> None:
    own = admission(tmp_path) if pinned else admission(tmp_path, study=None)
    refusal = refused(own, the_offer(tampered(change)))
    if pinned and change is _study_epsilon:
        part = "study: differs from the study file"
    assert refusal.reason.startswith(f"study agreement, {part}")
    assert (refusal.told, refusal.exit_code) == (refusal.reason, 1)


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'{"study": {}, "plan": null}', b"\xff\xfe"])
def test_what_is_no_agreement_is_refused_in_a_sentence(tmp_path: Path, data: bytes) -> None:
    refusal = refused(admission(tmp_path), the_offer(data))
    assert refusal.exit_code in (1, 2)
    assert "\n" not in refusal.reason


def _policy(**changes: Any) -> Policy:
    return Policy.model_validate(simulation_policy(small_study()).model_dump() | changes)


@pytest.mark.threat("FL-16", control="C-POLICY")
@pytest.mark.parametrize(
    ("changes", "rule", "exit_code"),
    [
        ({"minimum_threshold": 4}, "minimum_threshold", 1),
        ({"minimum_noise_multiplier": 100.0}, "minimum_noise_multiplier", 1),
        ({"families": ("mlp",)}, "families", 1),
        ({"stages": ("drop",)}, "stages", 1),
        ({"purposes": ("billing",)}, "purposes", 1),
        ({"delta_total": 1e-9}, "delta_total", 1),
        ({"epsilon_total": 2.9}, "epsilon_total", 4),
    ],
)
def test_the_policy_refuses_before_data_is_read(
    tmp_path: Path, changes: dict[str, Any], rule: str, exit_code: int
) -> None:
    refusal = refused(admission(tmp_path, policy=_policy(**changes)), the_offer())
    assert rule in refusal.reason
    assert "not-there-yet" not in refusal.reason
    assert refusal.exit_code == exit_code


def test_without_the_policy_check_the_table_would_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit = check(_policy(), terms_of(small_agreement()), (), ManualClock().now())
    monkeypatch.setattr(admission_module, "check", lambda *_: permit)
    refusal = refused(admission(tmp_path, policy=_policy(epsilon_total=0.1)), the_offer())
    assert "not-there-yet" in refusal.reason


def test_a_spent_budget_refuses_the_next_study_with_exit_code_4(tmp_path: Path) -> None:
    """Two studies in one ledger: the second would pass the hospital's total."""
    world = World.of(tmp_path)
    world.execute()
    second = ('id = "small"', 'id = "second"')
    world.study, world.agreement = small_study(second), small_agreement(second)
    node = world.restart("a")
    (answer,) = node.on_message(offer(world))
    told = codec.unpack("study_answer", StudyAnswer, answer)
    # The coordinator hears one sentence and one code for every refusal; the operator hears the rule and the numbers.
    assert (told.accepted, told.exit_code, told.reason) == (False, 1, Admission.TOLD)
    assert node.ended is not None
    assert (node.ended.status, node.ended.exit_code) == ("refused", 4)
    assert "epsilon_total" in node.ended.reason
    # With room for both, the same offer is taken.
    node.ended = None
    world.with_policy(node, epsilon_total=6.0)
    (answer,) = node.on_message(offer(world))
    assert codec.unpack("study_answer", StudyAnswer, answer).accepted


@pytest.mark.threat("FL-24", control="C-LEAST")
def test_a_bad_table_is_the_hospitals_own_business(tmp_path: Path) -> None:
    frame = table()
    frame.loc[3, "days"] = "0"
    own = admission(tmp_path, data=write_csv(frame, tmp_path, "bad.csv"))
    refusal = refused(own, the_offer())
    assert "days" in refusal.reason
    assert "P00003" not in refusal.reason
    assert refusal.told == Admission.TOLD


def test_the_stages_report_stays_in_the_hospitals_folder(tmp_path: Path) -> None:
    own = admission(tmp_path, data=write_csv(table(), tmp_path, "good.csv"))
    admitted = admit(own, the_offer())
    assert (tmp_path / "reports" / "small.stage.json").is_file()
    assert admitted.permit.after.number() <= 3.0


def variant() -> bytes:
    """The accepted study with a little more noise: another agreement, which keeps every promise."""
    plan = small_agreement().plan
    assert plan is not None
    more = tuple(replace(r, noise_multiplier=1.001 * r.noise_multiplier) for r in plan.releases)
    return tampered(lambda body: body.update(plan=replace(plan, releases=more).to_json()))


@pytest.mark.threat("FL-16", control="C-POLICY")
def test_an_accepted_study_is_not_run_again_under_another_agreement(tmp_path: Path) -> None:
    hand = Hand(World.of(tmp_path)).join()
    world = hand.world
    other = codec.pack("study_offer", the_offer(variant()))
    (answer,) = hand.ask("a", other)
    assert "accepted another agreement before" in codec.unpack("abort", Abort, answer).reason
    assert world.nodes["a"].ended is None
    _, order = hand.order(1)
    hand.ask("a", order)
    # A new process remembers by the ledger; without it the variant would be taken.
    world.with_policy(world.restart("a"), epsilon_total=9.0)
    (answer,) = hand.ask("a", other)
    assert not codec.unpack("study_answer", StudyAnswer, answer).accepted
    assert "refuses by study_id" in world.refusals("a")[-1]
    world.with_policy(world.nodes["b"], epsilon_total=9.0)
    world.nodes["b"].admitted = None
    (answer,) = hand.ask("b", other)
    assert codec.unpack("study_answer", StudyAnswer, answer).accepted


@pytest.mark.threat("FL-16", control="C-POLICY")
@pytest.mark.parametrize("plan", [1, "x", [], {"releases": [1], "epsilon": 3, "delta": 1e-5}, True])
def test_a_plan_of_the_wrong_type_is_refused_in_a_sentence(tmp_path: Path, plan: object) -> None:
    refusal = refused(admission(tmp_path), the_offer(tampered(lambda body: body.update(plan=plan))))
    assert refusal.exit_code == 1
    assert "study agreement" in refusal.reason


@pytest.mark.threat("FL-16", control="C-POLICY")
@pytest.mark.parametrize("noise", [1e-11, 1e-8, 1e-4, 0.01, 0.1])
def test_noise_that_no_plan_has_is_refused_before_it_is_accounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, noise: float
) -> None:
    """Poisson sampling at tiny noise takes the accountant gigabytes."""
    sampled = small_study(("\nsample_rate = 1.0", ""))
    quiet = expected_releases(sampled, resolve_training(sampled))
    plan = DpPlan(tuple(replace(r, noise_multiplier=noise) for r in quiet), 3.0, 1e-5)

    def never(*_: object) -> None:
        raise AssertionError("accounted")

    monkeypatch.setattr(agreement_module, "spent", never)
    body = small_agreement().to_json()
    body["study"], body["training"] = (
        sampled.to_json(),
        resolve_training(sampled).model_dump(mode="json"),
    )
    body["plan"] = plan.to_json()
    for own in (admission(tmp_path, study=sampled), admission(tmp_path, study=None)):
        assert "costs epsilon far beyond" in refused(own, the_offer(canonical(body))).reason
    # Of another study than the accepted one not even that is computed.
    assert "differs from the study file" in refused(admission(tmp_path), the_offer(canonical(body))).reason
