"""`wardround-hospital data synthesize`: what a data manager types for a table of patients who do not exist."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from privacy.guarantees.guarantee import rounded_up
from privacy.link.command_line import say, say_json

if TYPE_CHECKING:
    import pandas as pd

    from hospital_node.ledger_store import LedgerStore
    from hospital_node.synthesis.synthesize import Source, Synthesized
    from privacy.studies.study import Study
    from privacy.synthesis.request import SynthesisRequest

EPILOG = (
    "Example: wardround-hospital data synthesize --study study.toml --data extract.csv --home /srv/wardround --epsilon 1 --out "
    "synthetic.csv. "
    "Engine 'sdv' is the optional extra 'sdv': Business Source License 1.1 (BUSL-1.1), whose grant excludes a commercial service that "
    "gives third parties its functions; it gives no guarantee, and from then on this hospital's ledger adds up to no number."
)


class GateClosed(Exception):
    """The hospital's policy holds back a table that does not pass; what was charged stays charged."""

    exit_code: ClassVar[int] = 1

    def __init__(self, report: Path | None) -> None:
        """Name the report."""
        super().__init__(
            f'{report}: the table does not pass the quality gate, and policy.toml says synthetic_gate = "stop"; it was not '
            "written, and what was charged stays charged"
        )


class EngineName(StrEnum):
    """--engine."""

    dp = "dp"
    sdv = "sdv"


def data_synthesize(
    study: Annotated[Path, typer.Option("--study", help="The study file with the dictionary.")],
    data: Annotated[Path, typer.Option("--data", help="Your table, .csv or .parquet.")],
    home: Annotated[Path, typer.Option("--home", help="Folder of this hospital's keys, policy and state.")],
    out: Annotated[
        Path,
        typer.Option("--out", help="Table to write, .csv or .parquet; its guarantee lies in <out>.json."),
    ],
    epsilon: Annotated[
        float | None, typer.Option("--epsilon", help="What the table may cost one patient; engine dp only.")
    ] = None,
    delta: Annotated[float | None, typer.Option("--delta", help="With epsilon; 1e-5 unless given.")] = None,
    patients: Annotated[
        int | None,
        typer.Option(
            "--patients", min=1, help="Rows; without it the noised number of patients. Costs nothing."
        ),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="dp: with a budget. sdv: without any guarantee (BUSL-1.1).")
    ] = EngineName.dp,
    report: Annotated[
        Path | None,
        typer.Option("--report", help="Also compare with the real patients: .html or .json; must not leave."),
    ] = None,
    drop_undeclared: Annotated[
        bool, typer.Option("--drop-undeclared", help="Leave out columns that the study does not declare.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")] = False,
) -> None:
    """Make a table of synthetic patients. Engine dp charges the ledger once: asking again for the same sums costs nothing."""
    from hospital_node import keys
    from hospital_node.clock import SystemClock
    from hospital_node.home import Home
    from hospital_node.ledger_store import LedgerStore
    from hospital_node.synthesis.synthesize import WRITERS, Source, write
    from privacy.ledgers.policy_file import read_policy
    from privacy.studies.study import load_study

    for path, kinds in ((out, tuple(WRITERS)), (report, (".html", ".json"))):
        if path is not None and path.suffix.lower() not in kinds:
            raise typer.BadParameter(f"{path.name} is neither {kinds[0]} nor {kinds[1]}; name one of them")
    place = Home(home)
    place.prepare()
    policy = read_policy(place.policy)
    source, loaded = Source(place, policy, data, drop_undeclared), load_study(study)
    request = _request(engine, epsilon, delta, patients, source, loaded)
    if request.gated and report is None:
        raise typer.BadParameter('policy.toml says synthetic_gate = "stop": name a file by --report')
    with LedgerStore(place.ledger, keys.load(place.keys).identity_private, SystemClock()) as ledger:
        made = _made(request, source, patients, ledger)
    passed = None if report is None else _report(request, source, made, report)
    if request.gated and not passed:
        raise GateClosed(report)
    beside = write(made, request, out)
    guarantee = request.guarantee
    if as_json:
        say_json(
            {
                "table": str(out),
                "metadata": str(beside),
                "engine": request.engine,
                "synthetic_patients": len(made.table),
                "charged": made.charged,
                "guarantee": guarantee.to_json(),
                **({} if report is None else {"report": str(report), "gate_passed": passed}),
            }
        )
        return
    say(f"{out}: {len(made.table)} synthetic patients; {beside.name} says what they reveal")
    if guarantee.epsilon is None:
        say(f"no formal guarantee. {guarantee.reason}")
    else:
        say(
            f"epsilon {rounded_up(guarantee.number(), 4)} at delta {guarantee.delta:g} per patient (add/remove)"
        )
    say("charged to the ledger" if made.charged else "charged before; nothing is charged again")
    if report is not None:
        say(
            f"{report}: the gate is {'passed' if passed else 'not passed'}; for this hospital alone, it must not leave"
        )


def _request(
    engine: EngineName,
    epsilon: float | None,
    delta: float | None,
    patients: int | None,
    source: Source,
    study: Study,
) -> SynthesisRequest:
    from privacy.synthesis.request import SynthesisRequest

    use, epoch, gated = source.use(study), source.policy.data_epoch, source.policy.synthetic_gate == "stop"
    if engine is EngineName.dp:
        if epsilon is None:
            raise typer.BadParameter("--epsilon is missing: what may the table cost one patient?")
        if not 0 < epsilon <= 50 or not 0 < (delta or 1e-5) <= 1e-3:
            raise typer.BadParameter("--epsilon is above 0 and at most 50, --delta above 0 and at most 1e-3")
        return SynthesisRequest.dp(study, epsilon, delta or 1e-5, use=use, epoch=epoch, gated=gated)
    if epsilon is not None or delta is not None:
        raise typer.BadParameter(
            "--engine sdv has no budget and no guarantee; leave out --epsilon and --delta"
        )
    if patients is None:
        raise typer.BadParameter(
            "--engine sdv needs --patients: the number of rows would tell that of the patients"
        )
    return SynthesisRequest.sdv(study, use=use, epoch=epoch, gated=gated)


def _made(
    request: SynthesisRequest, source: Source, patients: int | None, ledger: LedgerStore
) -> Synthesized:
    from hospital_node.clock import SystemClock
    from hospital_node.entropy import DiscreteGaussian, OsEntropy
    from hospital_node.synthesis.synthesize import synthesize_dp, synthesize_sdv

    if request.engine == "dp":
        return synthesize_dp(
            request, source, patients, ledger, SystemClock(), DiscreteGaussian(), OsEntropy()
        )
    from hospital_node.synthesis.sdv_engine import sdv_table

    assert patients is not None
    return synthesize_sdv(request, source, patients, ledger, SystemClock(), sdv_table)


def _report(request: SynthesisRequest, source: Source, made: Synthesized, path: Path) -> bool:
    from hospital_node.clock import SystemClock
    from hospital_node.entropy import DiscreteGaussian, OsEntropy
    from hospital_node.synthesis.quality import quality
    from hospital_node.synthesis.quality_page import write as write_page
    from hospital_node.synthesis.sdv_engine import sdv_table
    from hospital_node.synthesis.synthesize import synthesized_unpaid

    study = request.study

    def again(frame: pd.DataFrame) -> pd.DataFrame:
        if request.engine == "sdv":
            return sdv_table(frame, study, len(frame))
        return synthesized_unpaid(frame, request, DiscreteGaussian(), OsEntropy())

    found = quality(source.patients(study, SystemClock()), made.table, study, again)
    write_page(found, source.policy.synthetic_gate, path)
    return found.passed
