"""`wardround-study`: what a trial statistician types."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deploy.analysis_lines import analysis_lines
from privacy.guarantees.guarantee import rounded_up
from privacy.link import command_line
from privacy.link.command_line import say, say_json

if TYPE_CHECKING:
    from coordinator.progress import Progress
    from privacy.studies.agreement import Agreement

JSON = Annotated[bool, typer.Option("--json", help="Print JSON.")]
FILE = Annotated[Path, typer.Argument(help="The study file (TOML).")]

app = typer.Typer(
    name="wardround-study",
    help="Design a study, price its privacy, try it on tables you hold, apply its model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command(
    epilog="Examples: wardround-study new extract.csv --out study.toml; wardround-study new --cohort cohort.toml"
)
def new(
    table: Annotated[
        Path | None, typer.Argument(help="A .csv or .parquet with the study's columns.", show_default=False)
    ] = None,
    cohort: Annotated[
        Path | None, typer.Option("--cohort", help="An OMOP or FHIR cohort definition instead of a table.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="File to write; standard output without it.")
    ] = None,
) -> None:
    """Draft a commented study file from a table's columns or a cohort definition: names and types, no patient's value."""
    from deploy.draft_cohort import draft_cohort
    from deploy.draft_study import draft
    from hospital_node.sources.definition_file import load_definition
    from privacy.studies.refusals import StudyError

    if table is not None and cohort is None:
        text = draft(table)
    elif cohort is not None and table is None:
        text = draft_cohort(load_definition(cohort), cohort.stem)
    else:
        raise StudyError("new", "give either a table or --cohort with a definition")
    if out is None:
        sys.stdout.write(text)
        return
    if out.exists():
        raise StudyError(str(out), "exists already; name another file")
    out.write_text(text, encoding="utf-8")
    say(f"{out}: decide what says 'decide', then wardround-study lint {out}")


@app.command(epilog="Example: wardround-study lint study.toml")
def lint(file: FILE, as_json: JSON = False) -> None:
    """Check a study file; says in one sentence what is wrong, and what is legal but worth a second look."""
    from privacy.studies.built import check_events
    from privacy.studies.study import load_study

    study = load_study(file)
    check_events(study.dictionary)
    remarks = study.remarks()
    if as_json:
        say_json({"study": study.id, "ok": True, "remarks": remarks})
        return
    for remark in remarks:
        say(f"note: {remark}")
    say(
        f"{study.id}: {len(study.hospitals)} hospitals, {study.dictionary.n_columns} columns, mode {study.mode}"
    )


@app.command(epilog="Example: wardround-study price study.toml --json")
def price(file: FILE, as_json: JSON = False) -> None:
    """What the study's releases together reveal about one patient at most, before anything runs."""
    from privacy.analytics.expected import expected_noise
    from privacy.guarantees.guarantee import NOTHING_NOISED
    from privacy.guarantees.pricing import price as price_plan
    from privacy.studies.agreement import build
    from privacy.studies.study import load_study

    study = load_study(file)
    agreement = build(study)
    body: dict[str, Any] = {"study": study.id, "mode": study.mode, "stage": study.stage.kind}
    if agreement.plan is None:
        body["guarantee"] = {"kind": "none", "reason": NOTHING_NOISED}
    else:
        body |= price_plan(agreement.plan, agreement.threshold)
        body["plan"] = agreement.plan.to_json()
        body["analysis"] = expected_noise(agreement)
    body["secure_aggregation"] = {"graph": "complete"} if study.graph is None else study.graph.to_json()
    body["warnings"] = warnings_of(agreement)
    if as_json:
        say_json(body)
        return
    _print_price(body)


def warnings_of(agreement: Agreement) -> list[str]:
    """What a statistician should hear before spending a budget; from public numbers alone."""
    from privacy.guarantees.stage_release import ThresholdRelease
    from privacy.synthesis.charges import SynthesisRelease
    from privacy.synthesis.request import SDV_LICENSE

    found = []
    if agreement.training.hidden and (
        (agreement.study.epsilon or 0) < NETWORK_EPSILON or agreement.study.n_public_total < NETWORK_PATIENTS
    ):
        found.append(
            f"a network pays only from epsilon {NETWORK_EPSILON:g} and {NETWORK_PATIENTS} patients on; family 'piecewise_exponential' will do better"
        )
    if agreement.study.row_assumption and agreement.plan is not None:
        found.append(f"the guarantee assumes that {agreement.study.row_assumption}")
    if agreement.study.graph is not None:
        found.append(f"secure aggregation, {agreement.study.graph.sentence()}")
    if agreement.plan is not None and isinstance(agreement.plan.stage, ThresholdRelease):
        stage = agreement.plan.stage
        even, sure = stage.k + stage.noise.bound, stage.k + 2 * stage.noise.bound
        found.append(
            f"stage threshold takes epsilon {stage.epsilon:g} and delta {stage.delta:g} of this, once for all studies with these cells; "
            f"a hospital's class of {even} patients is kept in at least half of all drawings, one of {sure} in all"
        )
    if agreement.plan is not None and isinstance(agreement.plan.stage, SynthesisRelease):
        table = agreement.plan.stage
        found.append(
            f"stage synthetic_dp takes epsilon {table.epsilon:g} at delta {table.delta:g}, once for all studies with these fields and settings; "
            "whatever is trained on its table costs nothing more"
        )
        small = [h for h, n in agreement.study.n_public.items() if n < SYNTHESIS_PATIENTS]
        if small:
            found.append(
                f"below about {SYNTHESIS_PATIENTS} patients at a hospital a synthetic table ranks badly: {', '.join(small)}"
            )
    if agreement.study.stage.kind == "synthetic_sdv":
        found.append(SDV_LICENSE)
    per_column = agreement.study.n_public_total / max(len(agreement.columns), 1)
    if agreement.study.has_model and agreement.noising is not None and per_column < PATIENTS_PER_COLUMN:
        found.append(
            f"{per_column:.0f} declared patients a column: below about 80 events a column noise costs accuracy; name fewer columns beforehand"
        )
    return found


NETWORK_EPSILON = 8.0
NETWORK_PATIENTS = 5000
PATIENTS_PER_COLUMN = 160
SYNTHESIS_PATIENTS = 1000


def _print_price(body: dict[str, Any]) -> None:
    say(f"{body['study']}: mode {body['mode']}, stage {body['stage']}")
    for name, value in body.items():
        match value:
            case {"kind": "dp"}:
                say(
                    f"  {name}: epsilon {rounded_up(value['epsilon'], 4)} at delta {rounded_up(value['delta'], 3)} per {value['unit']}, "
                    f"{value['adjacency']} ({value['view']})"
                )
            case {"kind": "none"}:
                say(f"  {name}: none, {value['reason']}")
    for view in body.get("views", {}).values():
        say(f"  seen by {view['view']}: epsilon {rounded_up(view['epsilon'], 4)}")
    for ask in body.get("analysis", ()):
        say(f"  {ask['name']} ({ask['title']}): noise sd {ask['noise_sd']:.4g} {ask['unit']}")
    for warning in body["warnings"]:
        say(f"note: {warning}")


@app.command(epilog="Example: wardround-study curve study.toml --epsilon 1 --epsilon 3 --data tables/")
def curve(
    file: FILE,
    epsilons: Annotated[
        list[float] | None, typer.Option("--epsilon", min=1e-3, help="Promise to try; repeatable.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="Folder as for simulate: runs the study at each epsilon and scores it."),
    ] = None,
    as_json: JSON = False,
) -> None:
    """Noise at several epsilons, with tables the C-index too, and epsilon over delta of the study as it is written."""
    from deploy.curve import EPSILONS, utility_curve
    from privacy.studies.study import load_study

    body = utility_curve(load_study(file), epsilons or EPSILONS, data, _reporter(as_json))
    if as_json:
        say_json(body)
        return
    say(f"{body['study']}: mode {body['mode']}, delta {rounded_up(body['delta'], 3)}")
    for point in body["points"]:
        noise = ", ".join(f"{n['release']} {n['noise_multiplier']:.3g}" for n in point["noise"])
        test = point["test"]
        scored = "" if test is None else f"  C-index {test['c_index']:.4f} (n {test['n']}; simulation only)"
        scored = f"  failed: {point['failed']}" if "failed" in point else scored
        say(f"  epsilon {point['epsilon']:g}: noise multiplier {noise}{scored}")
    for point in body["delta_curve"]:
        say(
            f"  as written: epsilon {rounded_up(point['epsilon'], 4)} at delta {rounded_up(point['delta'], 3)}"
        )
    if "utility" in body:
        say(body["utility"])


@app.command(epilog="Example: wardround-study simulate study.toml --data tables/ --out out/try")
def simulate(
    file: FILE,
    data: Annotated[
        Path,
        typer.Option(
            "--data", help="Folder with <hospital>.csv or .parquet, optionally <hospital>.test.csv."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder for result, model, evidence and assessment.")],
    baselines: Annotated[bool, typer.Option(help="Also fit pooled Cox and each hospital alone.")] = True,
    as_json: JSON = False,
) -> None:
    """Run the whole study in this process: the real nodes, the real secure aggregation, your tables."""
    from deploy.simulate import simulate as run_simulation
    from privacy.studies.study import load_study

    simulated = run_simulation(load_study(file), data, out, _reporter(as_json), baselines=baselines)
    if simulated.failed is not None:
        command_line.say_error(f"{simulated.failed}; what is known is in {out}")
        raise typer.Exit(simulated.failed.exit_code)
    if as_json:
        say_json(dict(simulated.result))
    else:
        print_result(simulated.result)
        say(
            f"result: {out / 'result.json'}; privacy impact assessment ({simulated.pia.status}): {simulated.pia.html}"
        )


def _reporter(as_json: bool) -> Any:
    """Progress on standard error, so that standard output stays a result."""

    def report(progress: Progress) -> None:
        if as_json:
            sys.stderr.write(json.dumps(progress.to_json()) + "\n")
        elif progress.event not in ("uploaded", "connected", "round_started"):
            sys.stderr.write(progress.text + "\n")

    return report


@app.command(epilog="Example: wardround-study results out/try")
def results(out: Annotated[Path, typer.Argument(help="Folder of a run.")], as_json: JSON = False) -> None:
    """Show the result of a run."""
    body = json.loads((out / "result.json").read_text(encoding="utf-8"))
    if as_json:
        say_json(body)
    else:
        print_result(body)


def print_result(body: Any) -> None:
    """Guarantee first, then who was in it, then figures."""
    guarantee = body["guarantee"]
    if guarantee["kind"] == "dp":
        say(
            f"guarantee: epsilon {rounded_up(guarantee['epsilon'], 4)} at delta {rounded_up(guarantee['delta'], 3)} per {guarantee['unit']}, {guarantee['adjacency']}"
        )
    else:
        say(f"guarantee: none, {guarantee['reason']}")
    say(f"in it: {', '.join(body['cohort']['answered'])}")
    for entry in body["cohort"]["missing"]:
        say(
            f"missing: {entry['hospital']} from round {entry['round']}, at {entry['step']}: {entry['reason']}"
        )
    for coefficient in body["coefficients"]:
        interval = coefficient.get("ci95")
        told = "" if interval is None else f"  95 % interval {interval[0]:+.4f} to {interval[1]:+.4f}"
        say(f"  {coefficient['name']:24} log hazard ratio {coefficient['log_hr']:+.4f}{told}")
    for reason in sorted({c["reason"] for c in body["coefficients"] if c.get("reason")}):
        say(f"  no intervals: {reason}")
    if body.get("coefficients_limit"):
        say(f"  known limit: {body['coefficients_limit']}")
    for line in analysis_lines(body):
        say(line)
    if "test" in body:
        say(f"held-out C-index {body['test']['c_index']:.4f} (n {body['test']['n']}; simulation only)")
        for name, baseline in body.get("baselines", {}).items():
            say(f"  {name}: {baseline['c_index']:.4f}")


@app.command(epilog="Example: wardround-study predict out/try/model.json new-patients.csv --out curves.csv")
def predict(
    model: Annotated[Path, typer.Argument(help="model.json of a run.")],
    patients: Annotated[Path, typer.Argument(help=".csv or .parquet with the model's columns.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="CSV to write; standard output without it.")
    ] = None,
    times: Annotated[
        list[float] | None, typer.Option("--at", help="Days at which to read the curves; repeatable.")
    ] = None,
) -> None:
    """Survival curves of new patients: one row a patient, log relative hazard and survival at each time."""
    import numpy as np

    from deploy.predict import load_model
    from deploy.predict import predict as predict_table

    at = None if not times else np.asarray(sorted(times), dtype=np.float64)
    table = predict_table(load_model(model), patients, at)
    text = table.to_csv(index=False, float_format="%.6g")
    if out is None:
        sys.stdout.write(text)
    else:
        out.write_text(text, encoding="utf-8")
        say(f"{len(table)} patients: {out}")


def main() -> None:
    """Entry point of the script."""
    raise SystemExit(command_line.run(app, "wardround-study"))


if __name__ == "__main__":
    main()
