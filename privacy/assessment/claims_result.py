"""Claims about what people read in the end: model, coefficients and the other figures of result.json."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from privacy.assessment.claims_analysis import analysis_claim
from privacy.assessment.evidence import AGREEMENT, MODEL, RECEIPTS, RESULT, ROUNDS, Evidence, Result
from privacy.assessment.follow_model import FollowedModel, follow_model
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.statements import attested, failed, gap, not_applicable, verified
from privacy.studies.agreement import Agreement
from privacy.studies.coefficients import coefficient_rows, has_own_estimate, known_limit
from privacy.studies.exchange import ExchangeError
from privacy.studies.grid import FloatArray
from privacy.studies.trained_model import ModelFileError, TrainedModel

SECTION = "evidence"
SAME_COEFFICIENT = 1e-9
TOLD = "Its signature is on the manifest; nobody else can compute it."


def results(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """Whether model, coefficients and figures follow from the evidence, or are the coordinator's word."""
    agreement, result = evidence.agreement, evidence.result
    if agreement is None or result is None:
        return
    yield _figures(evidence, agreement, result)
    data = evidence.files.get(MODEL)
    if not agreement.study.has_model:
        yield from _without_model(evidence, agreement, result, facts)
        return
    if data is None:
        if result.status == "failed":
            yield not_applicable("E-MODEL", SECTION, "The study failed and has no model.", "-")
        else:
            yield gap("E-MODEL", SECTION, "The model is not in the bundle.", threats=("FL-36",))
        return
    try:
        model = TrainedModel.from_bytes(data)
        followed = follow_model(evidence, agreement, facts.rounds)
    except (ModelFileError, ExchangeError, ValueError) as error:
        text = f"The model does not follow from the evidence: {str(error).splitlines()[0]}."
        yield failed("E-MODEL", SECTION, text, (MODEL,), ("FL-36",))
        return
    yield _model(agreement, model, followed)
    yield _coefficients(agreement, result, model, followed)
    yield from _analysis(evidence, agreement, result, facts, model.theta)


def _without_model(evidence: Evidence, agreement: Agreement, result: Result, facts: Facts) -> Iterator[Claim]:
    """A study that asks [analysis] alone."""
    yield not_applicable("E-MODEL", SECTION, "The study trains no model.", "-")
    yield from _analysis(evidence, agreement, result, facts, None)


def _analysis(
    evidence: Evidence, agreement: Agreement, result: Result, facts: Facts, theta: FloatArray | None
) -> Iterator[Claim]:
    try:
        claim = analysis_claim(evidence, agreement, result, facts.rounds, theta)
    except ExchangeError as error:
        text = f"The analysis does not follow from the evidence: {error}."
        claim = failed("E-ANALYSIS", SECTION, text, (RECEIPTS,), ("FL-36",))
    if claim is not None:
        yield claim


def _model(agreement: Agreement, model: TrainedModel, followed: FollowedModel) -> Claim:
    paths, threats = (MODEL, RECEIPTS), ("FL-36",)
    if model.to_bytes() != TrainedModel.of(agreement, model.theta).to_bytes():
        return failed("E-MODEL", SECTION, "The model is one of another study.", paths, threats)
    if followed.told:
        text = f"The model is told by the coordinator: {followed.told}."
        return attested("E-MODEL", SECTION, text, (MODEL,), TOLD, threats)
    if followed.theta is None:
        text = "A receipt lacks its sum, or a round is missing: whether the model follows from the sums is not known."
        return gap("E-MODEL", SECTION, text, threats=threats)
    if not np.allclose(model.theta, followed.theta, rtol=followed.tolerance, atol=followed.tolerance):
        return failed(
            "E-MODEL", SECTION, "The model is not the one that the signed sums give.", paths, threats
        )
    return verified(
        "E-MODEL",
        SECTION,
        "The model is the one that the sums in the receipts give, computed again round by round.",
        paths,
        "That the sums are those of the hospitals' vectors: each hospital compared its receipts while the study ran.",
        threats,
    )


def _coefficients(
    agreement: Agreement, result: Result, model: TrainedModel, followed: FollowedModel
) -> Claim:
    """The rows of the result against the model, or the recipe's own estimate where it has one."""
    rows, limit = (
        coefficient_rows(agreement, model.theta, followed.estimate),
        known_limit(agreement, followed.estimate),
    )
    if followed.theta is None and not followed.told and has_own_estimate(agreement):
        if _named(result) == [(row["name"], row["scale"]) for row in rows]:
            text = "A receipt lacks its sum, or a round is missing: whether the coefficients and their errors follow from the sums is not known."
            return gap("E-COEFFICIENTS", SECTION, text, threats=("FL-36",))
        text = "The coefficients of the result are not those of the study's columns."
        return failed("E-COEFFICIENTS", SECTION, text, (RESULT, AGREEMENT), ("FL-36",))
    if not _same(result, rows):
        text = "The coefficients of the result are not those of the model."
        return failed("E-COEFFICIENTS", SECTION, text, (RESULT, MODEL), ("FL-36",))
    if result.coefficients_limit != limit:
        text = "The result leaves out, or makes up, what is known to be wrong with its coefficients."
        return failed("E-COEFFICIENTS", SECTION, text, (RESULT, MODEL), ("FL-36",))
    if not rows:
        return not_applicable("E-COEFFICIENTS", SECTION, "A network has no hazard ratios.", "-")
    return verified(
        "E-COEFFICIENTS",
        SECTION,
        "The coefficients of the result, with their errors where they have any, are computed again from the model in the bundle.",
        (RESULT, MODEL),
        _sentence(limit)
        or (
            f"The model itself is told by the coordinator: {followed.told}."
            if followed.told
            else "They are as good as the model."
        ),
        ("FL-36",),
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _named(result: Result) -> list[tuple[object, object]]:
    return [(row.name, row.scale) for row in result.coefficients]


def _same(result: Result, rows: list[dict[str, object]]) -> bool:
    def figures(row: dict[str, object]) -> list[object]:
        bounds = row["ci95"] if isinstance(row["ci95"], list | tuple) else [None, None]
        return [row["log_hr"], row["log_hr_scaled"], row["se"], *bounds]

    stated = [row.model_dump() for row in result.coefficients]
    if _named(result) != [(row["name"], row["scale"]) for row in rows]:
        return False
    pairs = [
        pair
        for said, found in zip(stated, rows, strict=True)
        for pair in zip(figures(said), figures(found), strict=True)
    ]
    return all(
        said is found
        if said is None or found is None
        else bool(np.isclose(float(str(said)), float(str(found)), rtol=1e-6, atol=SAME_COEFFICIENT))
        for said, found in pairs
    )


def _figures(evidence: Evidence, agreement: Agreement, result: Result) -> Claim:
    """Everything else in the result that the evidence knows too."""
    study = agreement.study
    pairs = {
        "study": result.study == study.id,
        "mode": result.mode == study.mode,
        "hospitals": result.hospitals == study.hospitals,
        "rounds": evidence.rounds is None or result.rounds == len(evidence.rounds),
        "declared sizes": {name: said.n_public for name, said in result.per_hospital.items()}
        == dict(study.n_public),
    }
    wrong = [name for name, same in pairs.items() if not same]
    if wrong:
        text = f"The result says something else than agreement and rounds about: {', '.join(wrong)}."
        return failed("E-RESULT", SECTION, text, (RESULT, AGREEMENT, ROUNDS), ("FL-36",))
    return verified(
        "E-RESULT",
        SECTION,
        f"What the result says about {', '.join(pairs)} is what agreement and rounds say.",
        (RESULT, AGREEMENT, ROUNDS),
        "Seconds, the reasons why hospitals were missing, the transport and any scores are told by the coordinator.",
        ("FL-36",),
    )
