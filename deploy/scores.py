"""How well a model orders and predicts held-out patients. Simulation and demo only: nothing here is paid for."""

import numpy as np

from hospital_node.cohort import Cohort
from privacy.studies.grid import FloatArray


def c_index(patients: Cohort, risk: FloatArray) -> float:
    """Harrell's C: share of comparable pairs in which the patient with the higher risk has the earlier event.

    A pair counts if the earlier exit is an event; equal risks count half. Follow-up after the horizon was censored.

    Args:
        patients: n of them, at least one comparable pair.
        risk: (n,) higher means an earlier event.

    Source: Harrell et al. 1982 (JAMA 247), as lifelines computes it.
    """
    from lifelines.utils import concordance_index

    return float(concordance_index(patients.time, -risk, patients.event))


def integrated_brier(patients: Cohort, survival: FloatArray, times_days: FloatArray) -> float:
    """Mean squared error of predicted survival over the times, weighted for censoring and averaged by the trapezoid rule.

    Weights come from the patients' own Kaplan-Meier estimate of censoring, G: those with an event by t weigh
    1 / G(just before the event), those still at risk 1 / G(t), those censored before t nothing.

    Args:
        patients: n of them.
        survival: (n, m) predicted at each time.
        times_days: (m,) ascending, within follow-up.

    Source: Graf, Schmoor, Sauerbrei & Schumacher 1999 (Stat. Med. 18), equations 2 and 5.
    """
    died = patients.event == 1
    at_exit = _censoring_free(patients, patients.time, strictly_before=True)
    at_time = _censoring_free(patients, times_days, strictly_before=False)
    gone = (patients.time[:, None] <= times_days) & died[:, None]
    present = patients.time[:, None] > times_days
    errors = gone * survival**2 / at_exit[:, None] + present * (1 - survival) ** 2 / at_time
    brier = errors.mean(axis=0)
    return float(np.trapezoid(brier, times_days) / (times_days[-1] - times_days[0]))


def kaplan_meier(patients: Cohort, times_days: FloatArray) -> FloatArray:
    """Kaplan-Meier estimate of survival at these times, (m,): what is predicted of everybody by whoever knows no covariate.

    Source: Kaplan & Meier 1958 (JASA 53), as lifelines computes it; late entries count from their entry on.
    """
    from lifelines import KaplanMeierFitter

    fit = KaplanMeierFitter().fit(patients.time, patients.event, entry=patients.entry)
    return np.asarray(fit.survival_function_at_times(times_days), dtype=np.float64)


def _censoring_free(patients: Cohort, times_days: FloatArray, *, strictly_before: bool) -> FloatArray:
    """Kaplan-Meier estimate of staying uncensored, at or just before each time; events come before censorings."""
    exits = np.unique(patients.time)
    censored = np.array([((patients.time == t) & (patients.event == 0)).sum() for t in exits])
    at_risk = np.array(
        [((patients.time > t) | ((patients.time == t) & (patients.event == 0))).sum() for t in exits]
    )
    steps = np.cumprod(1 - censored / np.maximum(at_risk, 1))
    position = np.searchsorted(exits, times_days, side="left" if strictly_before else "right") - 1
    curve = np.where(position >= 0, steps[np.maximum(position, 0)], 1.0)
    return np.maximum(curve, np.finfo(np.float64).tiny)
