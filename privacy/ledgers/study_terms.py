"""A study as a hospital's policy sees it."""

from dataclasses import dataclass

from privacy.guarantees.plan import DpPlan
from privacy.ledgers.policy_file import Mode


@dataclass(frozen=True, slots=True)
class StudyTerms:
    """What a policy needs to know of a study.

    Attributes:
        mode, family, stage, purpose: as in the study file.
        plan: None exactly in mode "none".
        threshold: t. colluding: T. n: number of hospitals in the study.
        epsilon, delta: what the study promises; None in mode "none".
        study_id: its name; one agreement a name.
        study_hash: SHA-256 of the agreement, hexadecimal.
        fields: (name, purpose) of each field that the study asks for.
        duo: code of the purpose, what a consent register is asked.
        analyses: kinds of what is asked beside a model.
        minimum_cell: smallest count that is printed where nothing is noised; None where noise covers counts, or none are asked.
    """

    mode: Mode
    plan: DpPlan | None
    family: str
    stage: str
    purpose: str
    threshold: int
    colluding: int
    n: int
    epsilon: float | None
    delta: float | None
    study_id: str
    study_hash: str
    fields: tuple[tuple[str, str], ...] = ()
    duo: str = ""
    analyses: tuple[str, ...] = ()
    minimum_cell: int | None = None
