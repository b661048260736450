"""Effects and errors of the trial mode against a population whose events and scores are known exactly."""

from dataclasses import dataclass, replace

import numpy as np
import pytest

from privacy.recipes.trial import Trial
from privacy.recipes.trial_interval import FEW_EVENTS, LATE, trial_estimate

K = 10


@dataclass(frozen=True)
class Population:
    """Patients without censoring before the end, with hazards constant within each interval."""

    patients: float
    hazard: float
    log_hr: tuple[float, ...]
    allocation: tuple[float, ...] = (0.5, 0.5)

    @property
    def hazards(self) -> np.ndarray:
        """(K, G), rising over time."""
        shape = np.arange(1, K + 1) / np.arange(1, K + 1).sum()
        return self.hazard * shape[:, None] * np.exp([0.0, *self.log_hr])

    @property
    def alive(self) -> np.ndarray:
        """Patients at each of the K + 1 times, (K + 1, G)."""
        spent = np.vstack([np.zeros(len(self.allocation)), np.cumsum(self.hazards, axis=0)])
        return self.patients * np.asarray(self.allocation) * np.exp(-spent)

    @property
    def table(self) -> tuple[np.ndarray, np.ndarray]:
        """Events and censorings of each interval, (K,) each."""
        censored = np.zeros(K)
        censored[-1] = self.alive[-1].sum()
        return -np.diff(self.alive, axis=0).sum(axis=1), censored

    def score(self, model: np.ndarray) -> np.ndarray:
        """Sums of the stopped martingales at a released model [log hazards, effects], (G,)."""
        asked = np.exp(model[:K, None] + np.append(0.0, model[K:]))
        until = np.vstack([np.zeros(asked.shape[1]), np.cumsum(asked, axis=0)])
        part = np.clip((1.0 - until[:-1]) / asked, 0.0, 1.0)
        events = self.alive[:-1] * -np.expm1(-part * self.hazards)
        return np.asarray((events * (1.0 - asked / self.hazards)).sum(axis=0))

    def fit(
        self,
        cell_sd: float = 0.0,
        score_sd: float = 0.0,
        rng: np.random.Generator | None = None,
        rounds: int = 5,
    ) -> Trial:
        """A study of it, with noise where a generator is given; the standard deviations are told either way."""
        events, censored = self.table

        def noise(sd: float, length: int) -> np.ndarray:
            return np.zeros(length) if rng is None else rng.normal(0.0, sd, length)

        fit = Trial.start(
            events + noise(cell_sd, K), censored + noise(cell_sd, K), cell_sd, self.allocation, 0.7, 4
        )
        for _ in range(rounds):
            fit = fit.after_score(self.score(fit.current) + noise(score_sd, len(self.allocation)), score_sd)
        return fit

    @property
    def cox_error(self) -> float:
        """Of the one contrast of two arms, from Cox' partial likelihood."""
        at_risk = self.alive[:-1] * self.hazards
        share = at_risk[:, 1] / at_risk.sum(axis=1)
        return float((self.table[0] @ (share * (1.0 - share))) ** -0.5)


def known_error(fit: Trial) -> np.ndarray:
    error = trial_estimate(fit).standard_error
    assert error is not None
    return error


@pytest.mark.parametrize("hazard", [0.1, 0.45, 1.0, 2.0])
@pytest.mark.parametrize("rounds", [2, 5])
@pytest.mark.parametrize(
    ("log_hr", "allocation"), [((-0.7,), (0.5, 0.5)), ((-0.7, 0.4, -0.2), (0.4, 0.2, 0.2, 0.2))]
)
def test_effects_are_found_whatever_the_hazard(
    hazard: float, rounds: int, log_hr: tuple[float, ...], allocation: tuple[float, ...]
) -> None:
    known = trial_estimate(Population(1e6, hazard, log_hr, allocation).fit(rounds=rounds))
    np.testing.assert_allclose(known.log_hr, log_hr, atol=0.004)


def test_a_bias_that_no_interval_counts_is_told_from_where_half_have_the_event() -> None:
    """The released life table alone decides: just below and just above one half."""
    for hazard, said in ((0.68, ""), (0.70, LATE)):
        known = trial_estimate(Population(1e5, hazard, (0.0,)).fit())
        assert known.limit == said


@pytest.mark.parametrize(("hazard", "log_hr"), [(0.1, -0.7), (0.5, 0.6)])
def test_without_noise_the_error_is_cox(hazard: float, log_hr: float) -> None:
    """Nobody's hazard is spent here, so little is lost against the partial likelihood."""
    population = Population(1e5, hazard, (log_hr,))
    assert known_error(population.fit())[0] == pytest.approx(population.cox_error, rel=0.025)


@pytest.mark.parametrize(("cell_sd", "score_sd"), [(25.0, 0.0), (0.0, 25.0)])
def test_noise_widens_the_interval_by_what_it_adds(cell_sd: float, score_sd: float) -> None:
    """Many fits of the same patients: their spread over noise draws is what the claim adds for noise."""
    rng, population = np.random.default_rng(4), Population(3000, 2.0, (-1.0,))
    effects = [trial_estimate(population.fit(cell_sd, score_sd, rng)).log_hr for _ in range(60)]
    told = population.fit(cell_sd, score_sd)
    quiet = replace(told, cell_sd=0.0, noise_sd=(0.0,) * 5)
    added = np.sqrt(known_error(told) ** 2 - known_error(quiet) ** 2)
    assert added[0] > 0.005
    np.testing.assert_allclose(np.std(effects, axis=0), added, rtol=0.35)


def test_the_error_knows_how_far_noise_of_the_scores_moves_the_effect() -> None:
    fit, step, sd = Population(3000, 2.0, (-1.0,)).fit(score_sd=10.0), 0.01, 10.0
    still = trial_estimate(fit).log_hr
    reach = [
        (trial_estimate(replace(fit, scores=tuple(s + step * arm for s in fit.scores))).log_hr - still) / step
        for arm in np.eye(2)
    ]
    quiet = known_error(replace(fit, noise_sd=(0.0,) * 5))
    added = np.sqrt(known_error(fit) ** 2 - quiet**2)
    np.testing.assert_allclose(added, sd / np.sqrt(5) * np.hypot(*reach), rtol=1e-3)


def test_no_interval_where_the_noise_is_as_large_as_the_events() -> None:
    population = Population(1000, 0.5, (-0.3, 0.1), (0.5, 0.25, 0.25))
    for cell_sd, score_sd in ((60.0, 1.0), (5.0, 150.0)):
        known = trial_estimate(population.fit(cell_sd, score_sd))
        assert known.standard_error is None
        assert known.reason == FEW_EVENTS
    assert trial_estimate(population.fit(rounds=0)).standard_error is None
