"""`wardround-hospital consent`: what a hospital's people type about consent."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hospital_node.options import HOME, JSON
from privacy.link.command_line import say, say_json

PATIENT = Annotated[
    str, typer.Argument(help="The patient's id as in your table; - reads it from standard input.")
]
REASON = Annotated[str, typer.Option("--reason", help="A sentence for this hospital's own eyes.")]
DISEASE = Annotated[str, typer.Option("--disease", help="MONDO code, with purpose DUO:0000007.")]

app = typer.Typer(
    help="The consent register: who takes part in what. It never leaves.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("import", epilog="Example: wardround-hospital consent import consents.csv --home /srv/wardround")
def import_(
    file: Annotated[Path, typer.Argument(help=".csv, or FHIR Consent R4/R5 as .json or .ndjson.")],
    home: HOME,
    as_json: JSON = False,
) -> None:
    """Append every statement of a file, all or none. A FHIR consent that is not understood excludes its patient."""
    from hospital_node.clock import SystemClock
    from hospital_node.consent_store import ConsentStore
    from hospital_node.home import Home
    from privacy.patients.consent import ConsentError
    from privacy.patients.consent_files import from_csv, from_fhir

    data = file.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = ""
    if not text:
        raise ConsentError(file.name, "is empty or not UTF-8; export it again with encoding UTF-8")
    read = from_csv if file.suffix.lower() == ".csv" else from_fhir
    statements = read(text, file.name)
    with ConsentStore(Home(home).consents, SystemClock(), create=True) as store:
        count = store.add(statements, data)
    if as_json:
        say_json({"statements": count})
    else:
        say(f"{file.name}: {count} statements are in the register")


@app.command(
    epilog="Example: wardround-hospital consent grant P-0017 --purpose DUO:0000006 --home /srv/wardround"
)
def grant(
    patient: PATIENT,
    home: HOME,
    purpose: Annotated[str, typer.Option("--purpose", help="DUO code, as DUO:0000006 (health research).")],
    disease: DISEASE = "",
    until: Annotated[str, typer.Option("--until", help="Last day, YYYY-MM-DD.")] = "",
    reason: REASON = "",
) -> None:
    """Record that a patient permits a purpose."""
    from privacy.patients.consent import Terms

    terms = Terms(purpose, "permit", disease=disease, valid_until=until, reason=reason)
    say(f"recorded for pseudonym {_record(home, _named(patient), terms)}")


@app.command(epilog="Example: wardround-hospital consent revoke P-0017 --home /srv/wardround")
def revoke(
    patient: PATIENT,
    home: HOME,
    purpose: Annotated[
        str, typer.Option("--purpose", help="DUO code; without it everything is withdrawn.")
    ] = "*",
    disease: DISEASE = "",
    reason: REASON = "withdrawn",
) -> None:
    """Record a withdrawal. A running study leaves the patient out from its next round on; finished sums stay."""
    from privacy.patients.consent import Terms

    terms = Terms(purpose, "deny", disease=disease, reason=reason)
    from hospital_node.consent_log import affected_studies
    from hospital_node.home import Home

    pseudonym = _record(home, _named(patient), terms)
    say(f"recorded for pseudonym {pseudonym}; it takes effect before the next round")
    studies = affected_studies(Home(home).reports / "consent", pseudonym)
    if studies:
        say(
            f"took part in {', '.join(studies)}: what those released cannot be taken back; decide whether to retrain or retire their models"
        )


@app.command(
    epilog="Example: wardround-hospital consent show P-0017 --home /srv/wardround --purpose DUO:0000006"
)
def show(
    patient: PATIENT,
    home: HOME,
    purpose: Annotated[str, typer.Option("--purpose", help="Also decide for this purpose today.")] = "",
    disease: DISEASE = "",
    study: Annotated[str, typer.Option("--study-id", help="Also decide for this study.")] = "",
    as_json: JSON = False,
) -> None:
    """Everything about one patient, and the decision for a purpose with its reason."""
    from hospital_node.clock import SystemClock
    from hospital_node.consent_api import entry_json
    from hospital_node.consent_store import ConsentStore
    from hospital_node.home import Home
    from privacy.patients.consent import DataUse, decide

    clock = SystemClock()
    with ConsentStore(Home(home).consents, clock) as store:
        entries = store.entries(store.key.pseudonym(_named(patient)))
    decision = decide(entries, DataUse(purpose, disease, study), clock.now().date()) if purpose else None
    if as_json:
        said = None if decision is None else {"permitted": decision.permitted, "reason": decision.reason}
        say_json({"entries": [entry_json(entry) for entry in entries], "decision": said})
        return
    for entry in entries:
        terms = entry.terms
        say(
            f"{entry.seq:6} {entry.recorded} {terms.decision:6} {terms.purpose} {terms.disease} {terms.reason}"
        )
    if decision is not None:
        say(f"{'takes part' if decision.permitted else 'is left out'}: {decision.reason}")


@app.command(
    epilog="Example: wardround-hospital consent serve --home /srv/wardround --token-file token --port 7480"
)
def serve(
    home: HOME,
    token_file: Annotated[
        Path, typer.Option("--token-file", help="A file with mode 0600 that holds the token.")
    ],
    port: Annotated[int, typer.Option("--port", help="Port on 127.0.0.1; 0 chooses one.")] = 7480,
) -> None:
    """Let this hospital's consent system write to the register over HTTP, on this machine alone."""
    from hospital_node.clock import SystemClock
    from hospital_node.consent_api import LOOPBACK, ConsentServer, read_token
    from hospital_node.consent_store import ConsentStore
    from hospital_node.home import Home

    token = read_token(token_file)
    with (
        ConsentStore(Home(home).consents, SystemClock(), create=True) as store,
        ConsentServer(store, token, port) as server,
    ):
        say(f"http://{LOOPBACK}:{server.port}/openapi.json describes the register; Ctrl-C ends it")
        server.serve_forever()


def _named(patient: str) -> str:
    """The id; from standard input it stands in no process list and no shell's history."""
    return sys.stdin.readline().strip() if patient == "-" else patient


def _record(home: Path, patient: str, terms: object) -> str:
    from hospital_node.clock import SystemClock
    from hospital_node.consent_store import ConsentStore
    from hospital_node.home import Home
    from privacy.patients.consent import ConsentError, Terms

    assert isinstance(terms, Terms)
    if not patient:
        raise ConsentError("", "no patient is named")
    with ConsentStore(Home(home).consents, SystemClock(), create=True) as store:
        store.add([(patient, terms)], b"command line")
        return store.key.pseudonym(patient)
