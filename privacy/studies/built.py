"""What a study may ask for: which modes, stages, families, recipes and strategies exist, and which run today."""

from privacy.patients.dictionary import Dictionary
from privacy.studies.refusals import NotBuilt, RefusedModel, StudyError, nearest
from privacy.studies.study_sections import Analysis, Model, Privacy, Stage

MODES = {"none": True, "local": True, "distributed": True}
STAGES = {
    "none": True,
    "generalize": True,
    "drop": True,
    "threshold": True,
    "level": True,
    "mondrian": True,
    "synthetic_dp": True,
    "synthetic_sdv": True,
}
FAMILIES = {
    "piecewise_exponential": True,
    "mlp": True,
    # No model: the study asks what [analysis] says.
    "none": True,
    "logistic_hazard": False,
    "cloglog": False,
    "weibull_aft": False,
    "loglogistic_aft": False,
    "module": False,
    "cox": False,
    "deepsurv": False,
}
RECIPES = {"auto": True, "dp_sgd": True, "newton": True, "adam": True, "trial": True}
STRATEGIES = {
    "fedavg": True,
    "fedavgm": True,
    "fedadam": True,
    "fedyogi": True,
    "fedadagrad": True,
    "fedprox": False,
}
ROBUST_STRATEGIES = frozenset({"krum", "multikrum", "bulyan", "fedmedian", "fedtrimmedavg"})
METRICS = frozenset({"c_index", "ibs", "calibration"})

# Rule 4 of the design's privacy page; the measured figure is from its survival page.
COUPLED_LOSS = {
    "cox": "the Cox partial likelihood couples patients: a gradient term holds everybody at risk, so clipping one "
    "patient's term does not bound one patient's influence (one censored record within the declared bounds moved "
    "the sum clipped to 1 by 949)",
    "deepsurv": "DeepSurv trains on the Cox partial likelihood, which couples patients, so clipping one patient's "
    "term does not bound one patient's influence",
}


def _known(where: str, key: str, word: str, table: dict[str, bool]) -> None:
    if word not in table:
        raise StudyError(where, f"{key} = '{word}' is not known; {nearest(word, table)}")
    if not table[word]:
        built = ", ".join(name for name, is_built in table.items() if is_built)
        raise NotBuilt(where, f"{key} = '{word}' is not built yet; built are {built}")


def check_built(where: str, privacy: Privacy, stage: Stage, model: Model, analysis: Analysis) -> None:
    """Refuse what does not exist, what is not built and what can never be private.

    Raises:
        StudyError: an unknown word.
        RefusedModel: a family whose loss couples patients, under differential privacy.
        NotBuilt: everything else that does not run yet.
    """
    _known(where, "[privacy] mode", privacy.mode, MODES)
    if model.family in COUPLED_LOSS and privacy.mode != "none":
        raise RefusedModel(
            where,
            f"[model] family = '{model.family}' is refused under differential privacy: "
            f"{COUPLED_LOSS[model.family]}; use 'piecewise_exponential', the same proportional hazards",
        )
    _known(where, "[model] family", model.family, FAMILIES)
    _known(where, "[model] recipe", model.recipe, RECIPES)
    _known(where, "[stage] kind", stage.kind, STAGES)
    if model.strategy in ROBUST_STRATEGIES:
        raise StudyError(
            where,
            f"[model] strategy = '{model.strategy}' compares single hospitals' updates, which secure aggregation "
            "hides from the coordinator; use 'fedavg', 'fedadam' or another strategy that needs only their mean",
        )
    if model.strategy is not None:
        _known(where, "[model] strategy", model.strategy, STRATEGIES)
    _check_analysis(where, analysis)


def check_events(dictionary: Dictionary) -> None:
    """Refuse to train where the study declares competing risks: no model here may count one as censored in silence.

    Raises:
        NotBuilt: the event has codes above 1.
    """
    highest = dictionary.event.highest_event
    if highest > 1:
        raise NotBuilt(
            f"field '{dictionary.event.name}'",
            f"declares event codes 0 to {highest}: no model takes competing risks yet, and none counts them as censored in "
            "silence; declare codes 0 and 1, with every end point that counts as 1 (a composite end point), and have extracts "
            "made so; `data check` and `data profile` take the codes as they are",
        )


def _check_analysis(where: str, analysis: Analysis) -> None:
    if analysis.cox not in ("none", "stratified"):
        raise StudyError(where, f"[analysis] cox is 'stratified' or 'none', not '{analysis.cox}'")
    for metric in analysis.metrics:
        if metric not in METRICS:
            raise StudyError(where, f"[analysis] metrics has '{metric}'; {nearest(metric, METRICS)}")
    if analysis.cox != "none":
        raise NotBuilt(where, "[analysis] cox is not built yet; leave it out")
