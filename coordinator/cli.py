"""`wardround-coordinator`: what the coordinator's operator types."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from privacy.link import command_line
from privacy.link.command_line import say, say_json

HOME = Annotated[Path, typer.Option("--home", help="Folder of the coordinator's keys and state.")]
JSON = Annotated[bool, typer.Option("--json", help="Print JSON, one object a line.")]

app = typer.Typer(
    name="wardround-coordinator",
    help="Run studies over hospitals whose records you never see. First: `wardround-coordinator init --help`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
pia_app = typer.Typer(help="The privacy impact assessment.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(pia_app, name="pia")


@app.command(epilog="Example: wardround-coordinator init --home /srv/wardround")
def init(
    home: HOME,
    name: Annotated[str, typer.Option("--id", help="Id of the coordinator on the roster.")] = "coordinator",
    as_json: JSON = False,
) -> None:
    """Make the coordinator's keys. The private ones never leave the folder."""
    from coordinator import keys
    from coordinator.entropy import OsEntropy
    from coordinator.service import Home
    from privacy.link.certificates import fingerprint_groups

    own = keys.create(Home(home).keys, name, entropy=OsEntropy().take, now=datetime.now(UTC))
    prints = {
        "identity": fingerprint_groups(own.identity_public),
        "certificate": fingerprint_groups(own.certificate.sha256),
    }
    if as_json:
        say_json({"id": own.id, "fingerprints": prints})
        return
    say(
        f"keys are in {Home(home).keys}, readable by you alone; next: `enrol` with the hospitals' enrolment files"
    )
    for what, groups in prints.items():
        say(f"  {what:12} {groups}")


@app.command(
    epilog="Example: wardround-coordinator enrol north.json east.json south.json --home /srv/wardround"
)
def enrol(
    files: Annotated[list[Path], typer.Argument(help="Enrolment files of hospitals.")],
    home: HOME,
    as_json: JSON = False,
) -> None:
    """Check the hospitals' enrolment files and keep them. Call each contact and compare the fingerprints."""
    from coordinator import enrolment
    from coordinator.service import Home

    for kept in enrolment.enrol(Home(home).keys, files):
        if as_json:
            say_json(
                {"hospital": kept.id, "contact": kept.contact, "certificate": kept.certificate_fingerprint}
            )
            continue
        say(f"{kept.id} (contact: {kept.contact or 'none given'})")
        say(f"  identity     {kept.identity_fingerprint}")
        say(f"  certificate  {kept.certificate_fingerprint}")
    if not as_json:
        say("next: call each contact and compare these fingerprints by phone, then `roster`")


@app.command(
    epilog="Example: wardround-coordinator roster north.signature.json east.signature.json --home /srv/wardround"
)
def roster(
    home: HOME,
    signatures: Annotated[
        list[Path] | None, typer.Argument(help="Signature files of hospitals; none: draft.")
    ] = None,
    contact: Annotated[
        str, typer.Option(help="Whom the hospitals call to compare the coordinator's fingerprints.")
    ] = "",
    as_json: JSON = False,
) -> None:
    """Draft the roster of all enrolled hospitals, then collect their signatures. Complete, it goes to everybody."""
    from coordinator import enrolment
    from coordinator.service import Home

    folder = Home(home).keys
    if not signatures:
        path = enrolment.draft_roster(folder, contact)
        if as_json:
            say_json({"draft": str(path)})
            return
        say(enrolment.show_roster(path))
        say(f"send {path} to every hospital; each signs it with `wardround-hospital enrol`")
        return
    signing = enrolment.collect_signatures(folder, signatures)
    if as_json:
        say_json({"signed": signing.signed, "missing": signing.missing, "complete": str(signing.path or "")})
    elif signing.path is None:
        say(f"signed by {', '.join(signing.signed)}; still missing: {', '.join(signing.missing)}")
    else:
        say(
            f"all signed; send {signing.path} to every hospital, each keeps it with `wardround-hospital enrol`"
        )


@app.command(
    epilog="Example: wardround-coordinator run --home /srv/wardround --study study.toml --listen 0.0.0.0:7443 --out results/"
)
def run(
    home: HOME,
    study: Annotated[Path, typer.Option("--study", help="The study file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder for result, model, evidence and assessment.")],
    listen: Annotated[
        str,
        typer.Option("--listen", help="host:port; port 0 takes a free one.", callback=command_line.address),
    ] = "0.0.0.0:7443",
    tests: Annotated[
        Path | None, typer.Option(help="Test evidence of this code, for the assessment.")
    ] = None,
    pia: Annotated[bool, typer.Option(help="Write the assessment at the end; else `pia build` does.")] = True,
    as_json: JSON = False,
) -> None:
    """Run one study to its end. Every result names who was in it; too few answers end with exit code 3."""
    from coordinator.link import LinkServer  # noqa: F401  (gRPC must be set up before Flower imports it)
    from coordinator.progress import Progress
    from coordinator.service import Home, Terminated, serve
    from privacy.studies.study import load_study

    def report(progress: Progress) -> None:
        if as_json:
            say_json(progress.to_json())
        else:
            say(progress.text)

    try:
        result = serve(Home(home), load_study(study), listen, out, report, tests, assessment=pia)
    except Terminated:
        raise typer.Exit(command_line.INTERRUPTED) from None
    if as_json:
        say_json({"event": "done", "out": str(out), "result": dict(result)})
    else:
        say(f"done: {out / 'result.json'}")


@app.command(epilog="Example: wardround-coordinator results results/")
def results(out: Annotated[Path, typer.Argument(help="Folder of a run.")]) -> None:
    """Print the result of a run as JSON."""
    say(json.dumps(json.loads((out / "result.json").read_text(encoding="utf-8")), indent=1))


@pia_app.command("build", epilog="Example: wardround-coordinator pia build results/ --home /srv/wardround")
def pia_build(
    bundle: Annotated[Path, typer.Argument(help="Folder of a run, with its evidence.")],
    home: HOME,
    tests: Annotated[Path | None, typer.Option(help="Test evidence of this code.")] = None,
) -> None:
    """Write pia.json, pia.html and the signed manifest anew from the evidence in the folder."""
    from coordinator import keys
    from coordinator.pia.build import build
    from coordinator.service import Home

    built = build(bundle, identity=keys.load(Home(home).keys).identity_private, tests=tests)
    say(f"{built.status}: {built.html}")


def main() -> None:
    """Entry point of the script."""
    raise SystemExit(command_line.run(app, "wardround-coordinator"))


if __name__ == "__main__":
    main()
