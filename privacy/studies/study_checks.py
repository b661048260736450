"""What a study may not say: sections that contradict each other or the consortium, one sentence each.

Every check takes the whole study and returns what is wrong with it, or "" where nothing is. What one section says by itself is refused in
`privacy.studies.study_sections`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from privacy.patients.consent import COVERS, DISEASE
from privacy.recipes.tasks import HESSIAN_COLUMNS
from privacy.studies import graph_choice, study_stage
from privacy.studies.column_rules import MAXIMUM_SUMMED_PATIENTS
from privacy.studies.study_sections import Model
from privacy.studies.trial_arms import check_trial
from secagg.params import default_threshold

if TYPE_CHECKING:
    from privacy.studies.study import Study

MINIMUM_HOSPITALS = 3
RECIPE_RELEASES = frozenset(
    (
        "life_table",
        "train",
        "hessian",
        "means",
        "newton",
        "trial",
        "gradient",
        "predictor_moments",
        "risk_table",
    )
)


def first_contradiction(study: Study) -> str:
    """One sentence on what is wrong first; "" where the sections fit together."""
    for check in (
        _check_hospitals,
        _check_use,
        _check_threshold,
        _check_graph,
        _check_privacy,
        study_stage.problem,
        _check_model,
        _check_analysis,
    ):
        problem = check(study)
        if problem:
            return problem
    return ""


def _check_hospitals(study: Study) -> str:
    if len(study.hospitals) < MINIMUM_HOSPITALS:
        return f"[cohort] hospitals lists {len(study.hospitals)}; secure aggregation needs at least three"
    if len(set(study.hospitals)) < len(study.hospitals):
        return "[cohort] hospitals lists one twice"
    without = sorted(set(study.hospitals) - set(study.about.n_public))
    if without:
        return f"[study] n_public has no size for hospital '{without[0]}'; declare it before extraction"
    extra = sorted(set(study.about.n_public) - set(study.hospitals))
    if extra:
        return f"[study] n_public names '{extra[0]}', which is not in [cohort] hospitals"
    return ""


def _check_use(study: Study) -> str:
    duo, disease = study.about.duo, study.about.disease
    if duo and duo not in COVERS:
        return f"[study] duo = '{duo}' is not known here; known are {', '.join(COVERS)}"
    absent = sorted({field.name for field in study.fields} - set(study.about.available))
    if study.about.available and absent:
        return f"[study] available does not list the field '{absent[0]}', which the study uses"
    if (duo == DISEASE) != bool(disease):
        return f"[study] disease (MONDO) belongs to duo = '{DISEASE}', and only to it"
    return ""


def _check_threshold(study: Study) -> str:
    n, colluding, threshold = len(study.hospitals), study.colluding, study.cohort.threshold
    # The rules and their proof are secagg's; here only the sentence for the author of a study file.
    if n < colluding + 2:
        return f"[cohort] colluding = {colluding} leaves too few of {n} hospitals honest; at most {n - 2}"
    least = default_threshold(n, colluding)
    if threshold is not None and not least <= threshold <= n:
        return f"[cohort] threshold = {threshold}: with {n} hospitals and colluding = {colluding} it is {least} to {n}"
    if not study.threshold <= study.minimum_answers <= n:
        return f"[cohort] minimum_answers = {study.minimum_answers} must be {study.threshold} to {n}"
    return ""


def _check_graph(study: Study) -> str:
    n, colluding = len(study.hospitals), study.colluding
    if study.mode == "none" and study.secure_aggregation.graph == graph_choice.SPARSE:
        # The gate that keeps exact sums from singling out a hospital counts one known set a round; section 10.4 of the SPEC leaves more open.
        return (
            "[secure_aggregation] graph = 'sparse' is for noisy sums; in mode none leave it out, "
            "which sums of a round can be told apart is proved for the complete graph only"
        )
    return graph_choice.problem(study.secure_aggregation, n, colluding, study.threshold)


def _check_privacy(study: Study) -> str:
    if study.noised and study.privacy.epsilon is None:
        return f"[privacy] mode = '{study.mode}' needs epsilon"
    return ""


def _check_model(study: Study) -> str:
    model = study.model
    if (study.recipe == "trial") != (model.trial is not None):
        return "[model] recipe = 'trial' goes with trial = {arm = ..., allocation = {...}}, and only with it"
    if study.recipe in ("newton", "adam", "trial"):
        return check_trial(study) or _check_statistics(study)
    if model.recipe == "dp_sgd" and study.mode == "distributed":
        return "[model] recipe = 'dp_sgd' samples patients at each hospital and needs [privacy] mode = 'local'; leave recipe out"
    if model.recipe == "dp_sgd" and study.mode == "local" and not study.noised:
        return "[model] recipe = 'dp_sgd' adds noise that patients of [stage] kind = 'synthetic_dp' do not need; leave recipe out"
    if model.recipe == "dp_sgd" and study.mode == "none":
        return "[model] recipe = 'dp_sgd' needs [privacy] mode = 'local'; mode 'none' takes recipe = 'auto'"
    if model.hidden is not None and model.family != "mlp":
        return "[model] hidden is for family = 'mlp'"
    if not study.noised and (model.sample_rate is not None or model.clip_l2 is not None):
        return "[model] sample_rate and clip_l2 are for rounds that are noised; mode 'none' and stage 'synthetic_dp' use every patient whole"
    return ""


def _check_analysis(study: Study) -> str:
    """What [analysis] asks, and whether the budget's parts leave room for each other."""
    if not study.has_model:
        plain = Model(family="none")
        for key in Model.model_fields:
            if getattr(study.model, key) != getattr(plain, key):
                return f"[model] family = 'none' trains nothing; leave {key} out"
        if study.privacy.evaluation_share > 0:
            return "[privacy] evaluation_share is for a trained model; [model] family = 'none' has none"
        if not study.asks:
            return "[model] family = 'none' needs [analysis]: kaplan_meier, kaplan_meier_by or a query"
    if study.evaluates and not study.analysis.metrics:
        return "[privacy] evaluation_share pays for [analysis] metrics, and none are named"
    if study.privacy.analysis_share is not None and not study.analysis.asks_patients:
        return "[privacy] analysis_share pays for [analysis], which asks nothing"
    if study.privacy.analysis_share == 0:
        return "[privacy] analysis_share = 0 leaves nothing for [analysis]; leave it out or raise it"
    if study.has_model and study.privacy.evaluation_share + study.analysis_share >= 0.9:
        return "[privacy] evaluation_share and analysis_share leave less than a tenth for the model"
    for ask in study.asks:
        if ask.name in RECIPE_RELEASES or ask.name.startswith("stage_"):
            return f"[[analysis.query]] name '{ask.name}' belongs to a release of the study itself; choose another"
    if study.asks and study.n_public_total > MAXIMUM_SUMMED_PATIENTS:
        return f"[study] n_public adds up to more than {MAXIMUM_SUMMED_PATIENTS} patients, which a 64-bit sum of [analysis] does not hold"
    return ""


def _check_statistics(study: Study) -> str:
    """Recipes whose hospitals send noisy sums."""
    model, recipe = study.model, study.recipe
    if model.strategy not in (None, "fedavg"):
        return f"[model] recipe = '{recipe}' is a strategy itself; leave strategy out"
    for key in ("local_steps", "sample_rate", "server_learning_rate"):
        if getattr(model, key) is not None:
            return f"[model] {key} is for recipes that train at the hospitals; recipe = '{recipe}' has none"
    if recipe != "adam" and model.clip_l2 is not None:
        return f"[model] clip_l2: the bound of recipe = '{recipe}' is proved for one number; leave it out"
    if recipe == "trial" and model.family != "piecewise_exponential":
        return "[model] recipe = 'trial' is for family = 'piecewise_exponential'; leave family out"
    if recipe == "newton" and model.family != "piecewise_exponential":
        return "[model] recipe = 'newton' is for family = 'piecewise_exponential'; take recipe = 'adam'"
    if recipe == "newton" and not study.noised and study.dictionary.n_columns > HESSIAN_COLUMNS:
        return f"[model] recipe = 'newton' without noise takes at most {HESSIAN_COLUMNS} columns, the fields make {study.dictionary.n_columns}; take 'auto'"
    if recipe == "adam" and not study.noised:
        return "[model] recipe = 'adam' is for noisy sums; without noise take recipe = 'auto' with strategy = 'fedadam'"
    if model.hidden is not None and model.family != "mlp":
        return "[model] hidden is for family = 'mlp'"
    if study.n_public_total > MAXIMUM_SUMMED_PATIENTS:
        return f"[study] n_public adds up to more than {MAXIMUM_SUMMED_PATIENTS} patients, which a 64-bit sum of recipe = '{recipe}' does not hold"
    return ""
