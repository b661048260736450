"""What a private synthesizer looks at: four noised sums over the patients, and how they divide the budget.

The sums are those of a model in which patients with the same outcome are normal around a mean that moves along one
direction with the outcome's score. A score of follow-up is the martingale residual, so its sum with the covariates is
what a Cox regression starts from: one vector of the width of a patient, where a table of every feature against every
outcome would spread the same budget over hundreds of cells.

Measured beside a table per feature ("star") at epsilon 1, delta 1e-5, models trained on synthetic and tested on real
patients: `python -m tests.bench.synthesis`.
"""

from dataclasses import replace
from math import sqrt
from typing import Final

from privacy.guarantees.calibration import calibrate_shares
from privacy.guarantees.plan import DpPlan, Release, sums_of
from privacy.patients.dictionary import Dictionary
from privacy.studies.refusals import NotBuilt
from privacy.synthesis.attributes import attributes
from privacy.synthesis.charges import MARGINS, MOMENTS, OUTCOME, SCORE, SynthesisRelease

# Shares of mu^2, fixed on rott2, GBSG2 and flchain.
SHARES: Final = {OUTCOME: 0.05, SCORE: 0.50, MOMENTS: 0.15, MARGINS: 0.30}
# Columns beyond these rarely all lie on their bounds: the clip grows with the first nine.
_COLUMNS_AT_BOUND = 9
_TYPICAL_SQUARE = 0.45


def clip_of(columns: int) -> float:
    """Clip of a patient's columns x, |x_j| <= 1; public, from their number alone."""
    return sqrt(max(1.0, _TYPICAL_SQUARE * min(columns, _COLUMNS_AT_BOUND)))


def moments_clip(clip: float) -> float:
    """L2 norm of the upper triangle of (1, x)(1, x)' with off-diagonals times sqrt 2, without the corner, for |x| = clip."""
    return sqrt((1 + clip**2) ** 2 - 1)


def check_synthesizable(dictionary: Dictionary) -> None:
    """Refuse what the outcome's histogram has no cell for.

    Raises:
        NotBuilt: left truncation, or competing risks, which would be censored in silence.
    """
    entry, event = dictionary.entry, dictionary.event
    if entry is not None:
        raise NotBuilt(
            f"field '{entry.name}'",
            "is an entry time: synthetic data is not built yet for left truncation; leave the field out where everybody is "
            "observed from the start",
        )
    if event.highest_event > 1:
        raise NotBuilt(
            f"field '{event.name}'",
            f"declares event codes 0 to {event.highest_event}: synthetic data is not built yet for competing risks; "
            "declare one event",
        )


def synthesis_plan(epsilon: float, delta: float, dictionary: Dictionary) -> DpPlan:
    """The plan whose four full-batch Gaussian releases are (epsilon, delta)-DP together, add/remove.

    Sensitivities, one patient: outcome, one cell of a histogram: 1. Score, s x with |s| <= 1 and |x| <= clip: clip.
    Moments: `moments_clip`, from the Frobenius norm of (1, x)(1, x)'. Margins, one cell in each of F histograms: sqrt F.
    `privacy.noise.mechanisms.quantize` clips every row to these, whatever it holds.

    Raises:
        NotBuilt: see `check_synthesizable`.
    """
    check_synthesizable(dictionary)
    clips = _clips(dictionary)
    releases = [Release(name, "gaussian", 1.0, clip_l2=clips[name]) for name in SHARES]
    return calibrate_shares(epsilon, delta, releases, list(SHARES.values()))


def calibrated(quiet: SynthesisRelease) -> SynthesisRelease:
    """The stage of a study with the noise that keeps it within its epsilon and delta.

    Raises:
        PlanError: no noise within range does.
    """
    releases = [Release(name, "gaussian", 1.0) for name in SHARES]
    plan = calibrate_shares(quiet.epsilon, quiet.delta, releases, list(SHARES.values()))
    return replace(quiet, noise=tuple(release.noise_multiplier for release in plan.releases))


def plan_of(stage: SynthesisRelease, dictionary: Dictionary) -> DpPlan:
    """What a hospital draws for a study's stage: its four sums, clipped as the dictionary's columns ask.

    Raises:
        NotBuilt: see `check_synthesizable`.
    """
    check_synthesizable(dictionary)
    clips = _clips(dictionary)
    releases = tuple(replace(release, clip_l2=clips[release.name]) for release in sums_of(stage))
    return DpPlan(releases, stage.epsilon, stage.delta)


def _clips(dictionary: Dictionary) -> dict[str, float]:
    clip = clip_of(dictionary.n_columns)
    return {
        OUTCOME: 1.0,
        SCORE: clip,
        MOMENTS: moments_clip(clip),
        MARGINS: sqrt(len(attributes(dictionary))),
    }
