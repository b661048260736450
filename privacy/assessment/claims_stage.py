"""Claims about the stage in front of the training: what it costs, and what k, l and t it does not show."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.claims_dp import bound, digits
from privacy.assessment.evidence import AGREEMENT, Evidence
from privacy.assessment.pia_schema import Claim
from privacy.assessment.statements import attested, not_applicable, not_tested, undefined
from privacy.guarantees.stage_effect import Voids
from privacy.guarantees.stage_release import LevelRelease, ThresholdRelease
from privacy.synthesis.charges import SynthesisRelease

SECTION = "evidence"


def stage(evidence: Evidence) -> Iterator[Claim]:
    """What the preprocessing stage does to the guarantee, and what it does not show."""
    if evidence.agreement is None:
        return
    study = evidence.agreement.study
    kind, rows = study.stage.kind, study.sensitivity_rows
    if isinstance(study.effect, Voids):
        text = study.effect.reason
        yield undefined("E-STAGE-COST", SECTION, text, (AGREEMENT,), ("FL-25", "FL-27"))
        return
    if kind == "none":
        text = "No generalization or suppression of rows before training."
        yield not_applicable("E-STAGE", SECTION, text, "Scaling and categories are public in any case.")
        return
    if kind == "drop":
        how = f"Classes below k = {rows} are dropped; one patient can move {rows} rows, and the accounting is the mixture for that"
    elif isinstance(study.stage_release, ThresholdRelease):
        own = study.stage_release
        how = (
            f"Classes are kept when their noisy count reaches k = {own.k}; that costs {bound(own.epsilon, own.delta)}, which is "
            "added to the training's. The noise only ever lowers a count, so that a class that was kept has at least k patients; that it was drawn, once, is attested"
        )
    elif isinstance(study.stage_release, LevelRelease):
        own_epsilon = study.stage_release.epsilon
        how = (
            "Each hospital drew one of the public levels of generalization by the exponential mechanism, for "
            f"epsilon {digits(own_epsilon)} and no delta (unit: patient; adjacency: add/remove), which is added to the training's. Nothing is suppressed, "
            "and no class size is promised; that it was drawn, once, is attested"
        )
    elif isinstance(study.stage_release, SynthesisRelease):
        own_table = study.stage_release
        how = (
            f"Each hospital's patients were replaced by synthetic ones, drawn once from noised sums for {bound(own_table.epsilon, own_table.delta)}. "
            "The rounds see nothing else, so what they release costs no patient more; that the table was drawn, once, and that nothing else "
            "was used, is attested"
        )
    else:
        how = "Values are replaced by fixed public intervals and nothing is suppressed, so the stage costs nothing"
    yield attested(
        "E-STAGE-COST",
        SECTION,
        f"The stage {kind} is inside the printed number. {how}.",
        (AGREEMENT,),
        "What a hospital suppresses only its own node knows. k-anonymity is a property of a table; it adds no formal bound and does not lower the number.",
        ("FL-25", "FL-27"),
    )
    if kind == "synthetic_dp":
        return
    yield not_tested(
        "E-STAGE-KLT",
        SECTION,
        "The achieved k, l and t are in each hospital's own report and never on the wire; they are not in this bundle.",
        "Each data protection officer asks the own hospital for the report.",
        threats=("FL-25",),
    )
