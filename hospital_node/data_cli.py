"""`wardround-hospital data`: what a data manager types to look at the own table. Nothing leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hospital_node.options import DATA, DROP, JSON, STUDY
from hospital_node.synthesis import command as synthesis
from privacy.link import command_line
from privacy.link.command_line import say, say_json

app = typer.Typer(help="Look at your own table; nothing leaves.", no_args_is_help=True, rich_markup_mode=None)


@app.command("check", epilog="Example: wardround-hospital data check --study study.toml --data extract.csv")
def data_check(study: STUDY, data: DATA, drop_undeclared: DROP = False, as_json: JSON = False) -> None:
    """Say everything that is wrong with your table, and show what the stage does to it. Nothing leaves."""
    from hospital_node.check import check_table
    from privacy.studies.study import load_study

    loaded = load_study(study)
    checked = check_table(data, loaded, drop_undeclared=drop_undeclared)
    if as_json:
        findings = [
            {"severity": f.severity, "column": f.column, "sentence": f.sentence} for f in checked.findings
        ]
        stage = None if checked.stage is None else checked.stage.to_json()
        say_json({"rows": checked.rows, "fits": checked.fits, "findings": findings, "stage": stage})
    else:
        for finding in checked.findings:
            if finding.severity == "error":
                command_line.say_error(f"{data.name}: {finding.sentence}")
            else:
                say(f"{finding.severity}: {data.name}: {finding.sentence}")
    if checked.stage is None:
        raise typer.Exit(command_line.BAD_INPUT)
    if not as_json:
        say(f"{data.name}: {checked.rows} patients fit the dictionary of {loaded.id}")
        for line in checked.stage.lines():
            say(line)


@app.command(
    "profile",
    epilog="Example: wardround-hospital data profile --study study.toml --data extract.csv --out profile.html",
)
def data_profile(
    study: STUDY,
    data: DATA,
    out: Annotated[Path, typer.Option("--out", help="HTML file to write; readable by you alone.")],
    drop_undeclared: DROP = False,
    as_json: JSON = False,
) -> None:
    """Draw your table for yourself: distributions, missing cells, k, l and t. The page must not leave the hospital."""
    from hospital_node import profile_page
    from hospital_node.check import check_table
    from hospital_node.profile import profile
    from privacy.studies.study import load_study

    loaded = load_study(study)
    checked = check_table(data, loaded, drop_undeclared=drop_undeclared)
    profile_page.write(profile(checked.raw, checked.table, loaded, checked.findings), out)
    if as_json:
        say_json({"page": str(out), "fits": checked.fits})
    else:
        say(f"{out}: open it in a browser; it holds exact counts and must not leave this hospital")
        if not checked.fits:
            say("the table does not fit the study; the page says why, as `data check` does")


@app.command(
    "flatten",
    epilog="Example: wardround-hospital data flatten --cohort cohort.toml --source omop/ --out extract.csv --study study.toml",
)
def data_flatten(
    cohort: Annotated[Path, typer.Option("--cohort", help="The cohort definition (TOML).")],
    source: Annotated[
        Path, typer.Option("--source", help="Folder of OMOP CDM 5.4 tables or of a FHIR bulk export.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Table to write, .csv or .parquet; readable by you alone.")
    ],
    study: Annotated[
        Path | None, typer.Option("--study", help="Also check the table against this study.")
    ] = None,
    as_json: JSON = False,
) -> None:
    """Make one row for each patient of an OMOP or FHIR source. Nothing leaves; numbers of patients are shown as ranges."""
    from hospital_node.sources.against_study import check_against
    from hospital_node.sources.definition_file import load_definition
    from hospital_node.sources.flatten import flatten, write_table
    from privacy.studies.study import load_study

    definition = load_definition(cohort)
    loaded = None if study is None else load_study(study)
    if loaded is not None:
        check_against(definition, loaded, cohort.name)
    made = flatten(definition, source)
    write_table(made.table, out, source)
    summary = made.summary()
    if as_json:
        say_json({"table": str(out), **summary})
    else:
        for line in made.lines():
            say(line)
        say(f"{out}: one row for each patient; it must not leave this hospital")
    if study is not None:
        data_check(study, out, as_json=as_json)


app.command("synthesize", epilog=synthesis.EPILOG)(synthesis.data_synthesize)
