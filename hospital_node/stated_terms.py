"""A study's terms, which this hospital's policy is asked about: as the file states them, and as they were agreed."""

from dataclasses import replace

from privacy.ledgers.study_terms import StudyTerms
from privacy.studies.agreement import Agreement
from privacy.studies.study import Study


def terms_of(agreement: Agreement) -> StudyTerms:
    """The agreement as a policy sees it."""
    return replace(
        stated_terms(agreement.study),
        plan=agreement.plan,
        family=agreement.training.family,
        threshold=agreement.threshold,
        colluding=agreement.colluding,
        n=agreement.n,
        study_hash=agreement.hash,
    )


def stated_terms(study: Study) -> StudyTerms:
    """What a study file says by itself, without the plan that is calibrated for it."""
    return StudyTerms(
        mode=study.mode,  # type: ignore[arg-type]  # the study's validator allows exactly these
        plan=None,
        family=study.model.family,
        stage=study.stage.kind,
        purpose=study.purpose,
        threshold=study.threshold,
        colluding=study.colluding,
        n=len(study.hospitals),
        epsilon=study.epsilon,
        delta=study.delta,
        study_id=study.id,
        study_hash="",
        fields=tuple((field.name, field.purpose) for field in study.fields),
        duo=study.about.duo,
        analyses=study.analyses,
        minimum_cell=study.analysis.minimum_cell if study.asks and study.mode == "none" else None,
    )
