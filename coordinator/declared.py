"""What a study declared of its rounds and answers, against what they came to: no subset is used silently."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.join import StudyFailed
from coordinator.outcome import Outcome
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import task_at


def enough_rounds(agreement: Agreement, outcomes: Sequence[Outcome]) -> None:
    """Half of the rounds that may be aborted must have ended with a sum.

    Raises:
        StudyFailed: they did not.
    """
    tasks = [(o, task_at(agreement, o.round)) for o in outcomes]
    repeated = [o for o, task in tasks if task.repeats and task.part == "fit"]
    done = [o for o in repeated if o.status == "done"]
    if 2 * len(done) < len(repeated):
        reasons = "; ".join(sorted({o.reason for o in outcomes if o.reason}))
        raise StudyFailed(f"only {len(done)} of {len(repeated)} training rounds ended with a sum: {reasons}")


def enough_answers(agreement: Agreement, outcomes: Sequence[Outcome]) -> None:
    """The study declared how many must answer in every sum.

    Raises:
        StudyFailed: fewer did.
    """
    minimum = agreement.study.minimum_answers
    short = [o.round for o in outcomes if o.status == "done" and len(o.answered) < minimum]
    if short:
        raise StudyFailed(
            f"rounds {', '.join(map(str, short))} had fewer than the {minimum} answers that the study declares"
        )
