"""``wardround-dpo``: read and verify an assessment without trusting who made it; offline, privacy and secagg alone."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from privacy.assessment.evidence import load
from privacy.assessment.pia_document import document
from privacy.assessment.pia_schema import Claim, Pia, Status
from privacy.assessment.verify import Report, verify_bundle
from privacy.link import command_line
from privacy.link.folder_files import FolderFiles
from privacy.link.roster_file import EnrolmentError, read_consortium, trust

MAX_FILES = 100_000
# Of a file, and of all in a zip together, which is read as a whole.
MAX_BYTES = 1 << 30

EXIT_FAILED = 1
EXIT_INPUT = 2

UNEVIDENCED = frozenset({Status.NOT_TESTED, Status.STALE, Status.UNDEFINED, Status.GAP, Status.FAILED})

_STYLE = {
    Status.VERIFIED: "green",
    Status.ATTESTED: "blue",
    Status.STATED: "blue",
    Status.NOT_APPLICABLE: "dim",
    Status.NOT_TESTED: "yellow",
    Status.STALE: "yellow",
}

app = typer.Typer(
    help="Read and verify a privacy impact assessment and its evidence, offline.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="Folder or zip with pia.json and evidence/.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


class BundleError(Exception):
    """The bundle cannot be read; one sentence with the remedy."""


def read_bundle(path: Path) -> Mapping[str, bytes]:
    """The files of a bundle by path, from a folder or a zip; a single folder at its top is entered.

    Returns:
        Of a folder each file is read where it is asked for: receipts are as long as the model, one for each round.

    Raises:
        BundleError: no such folder or zip, or larger than any bundle.
    """
    files: Mapping[str, bytes]
    try:
        if path.is_dir():
            files = _folder(path)
            top = _single_top(files)
            if top:
                files = _folder(path / top)
        elif path.is_file():
            files = _read_zip(path)
            top = _single_top(files)
            if top:
                files = {name.partition("/")[2]: data for name, data in files.items()}
        else:
            raise BundleError(f"{path} does not exist: give the folder or zip that holds pia.json.")
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}.") from None
    if not files:
        raise BundleError(f"{path} is empty: give the folder or zip that holds pia.json.")
    return files


def _single_top(names: Iterable[str]) -> str:
    """The one folder that everything lies in; "" where the bundle itself does."""
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    return tops.pop() if len(tops) == 1 and tops != {"evidence"} else ""


def _folder(path: Path) -> FolderFiles:
    files = FolderFiles(path)
    places = [path / name for name in files]
    _check_size(path, len(places), max((place.stat().st_size for place in places), default=0))
    shut = next((place for place in places if not os.access(place, os.R_OK)), None)
    if shut is not None:
        raise BundleError(f"{shut} cannot be read: check its permissions.")
    return files


def _read_zip(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            _check_size(path, len(members), sum(member.file_size for member in members))
            if len({member.filename for member in members}) != len(members):
                raise BundleError(f"{path} holds two files of one name: ask for a new bundle.")
            return {member.filename: archive.read(member) for member in members}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError):
        raise BundleError(f"{path} is neither a folder nor a readable zip: ask for a new bundle.") from None


def _check_size(path: Path, files: int, size: int) -> None:
    if files > MAX_FILES or size > MAX_BYTES:
        raise BundleError(f"{path} is larger than any bundle: give the folder or zip that holds pia.json.")


@app.command()
def verify(
    bundle: Bundle,
    as_json: AsJson = False,
    roster: Annotated[
        Path | None,
        typer.Option(help="consortium.json of a hospital: the members must be these."),
    ] = None,
) -> None:
    """Recompute every hash, signature and number; exit 1 when anything does not hold.

    Example: wardround-dpo verify results/ --roster consortium.json
    """
    report = verify_bundle(_open(bundle), _roster_hash(roster))
    if as_json:
        typer.echo(json.dumps(_report_json(report), indent=1))
    else:
        _print_report(report)
    raise typer.Exit(0 if report.ok else EXIT_FAILED)


@app.command()
def claims(
    bundle: Bundle,
    unevidenced: Annotated[
        bool, typer.Option("--unevidenced", help="Only what evidence does not carry.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the claims with their status, regenerated from the evidence.

    Example: wardround-dpo claims out/demo/latest/bundle --unevidenced
    """
    listed = [
        claim
        for claim in document(load(_open(bundle))).claims
        if not unevidenced or claim.status in UNEVIDENCED
    ]
    if as_json:
        typer.echo(json.dumps([claim.model_dump(mode="json") for claim in listed], indent=1))
        return
    _print_claims(listed)


@app.command()
def show(bundle: Bundle, as_json: AsJson = False) -> None:
    """Page 1 on the terminal: decision, what to read first, failures, gaps, epsilon per hospital.

    Example: wardround-dpo show out/demo/latest/bundle
    """
    files = _open(bundle)
    pia = document(load(files))
    if as_json:
        typer.echo(pia.model_dump_json(indent=1))
        return
    _print_first_page(pia, verify_bundle(files))


def _open(bundle: Path) -> Mapping[str, bytes]:
    try:
        return read_bundle(bundle)
    except BundleError as error:
        _refuse(str(error))


def _roster_hash(path: Path | None) -> bytes | None:
    """The hash of the roster in a consortium file that every hospital signed."""
    if path is None:
        return None
    try:
        return trust(read_consortium(path.read_bytes(), str(path)), str(path)).roster.hash
    except OSError as error:
        _refuse(f"{path} cannot be read: {error.strerror}.")
    except EnrolmentError as error:
        _refuse(str(error))


def _refuse(sentence: str) -> NoReturn:
    typer.echo(sentence, err=True)
    raise typer.Exit(EXIT_INPUT)


def _report_json(report: Report) -> dict[str, object]:
    return {
        "ok": report.ok,
        "checks": [{"id": check.id, "ok": check.ok, "text": check.text} for check in report.checks],
        "identities": dict(report.identities),
        "claims": [{"id": c.id, "status": c.status.value, "text": c.text} for c in report.claims],
    }


def _print_report(report: Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for check in report.checks:
        console.print(
            Text("ok    " if check.ok else "FAILED", "green" if check.ok else "bold red"), Text(check.text)
        )
    if report.identities:
        console.print("Whose bundle this is; compare with what you know, or give --roster:")
    for name, fingerprint in report.identities:
        console.print(Text(f"      {name}: {fingerprint}"))
    verified = [claim for claim in report.claims if claim.status is Status.VERIFIED]
    open_claims = [claim for claim in report.claims if claim.status in UNEVIDENCED]
    console.print(
        f"{len(verified)} of {len(report.claims)} claims are VERIFIED from the evidence, {len(open_claims)} are not carried by it."
    )
    console.print(
        Text("The bundle holds.", "bold green")
        if report.ok
        else Text("The bundle does NOT hold.", "bold red")
    )


def _print_claims(listed: Sequence[Claim]) -> None:
    table = Table(box=None, pad_edge=False)
    for name in ("status", "claim", "text"):
        table.add_column(name, overflow="fold", no_wrap=name != "text")
    for claim in listed:
        table.add_row(Text(claim.status, _STYLE.get(claim.status, "bold red")), claim.id, Text(claim.text))
    Console(highlight=False).print(table)


def _print_first_page(pia: Pia, report: Report) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(Text(pia.study.title if pia.study else "Unknown study", "bold"))
    console.print(Text(pia.generator_status.replace("_", " "), "bold red"), Text(pia.headline))
    console.print(
        Text("Verification: the bundle holds.", "green")
        if report.ok
        else Text("Verification: the bundle does NOT hold; run wardround-dpo verify.", "bold red")
    )
    for title, lines in (
        ("Read first", [alert.text for alert in pia.alerts]),
        ("Failed", [f"{claim.id}: {claim.text}" for claim in pia.claims if claim.status is Status.FAILED]),
        ("Open gaps", [f"{gap.text} [{gap.owner}]" for gap in pia.gaps]),
    ):
        console.print()
        console.print(Text(title, "bold"))
        for line in lines or ["none"]:
            console.print(Text(f"- {line}"))
    console.print()
    console.print(_hospitals(pia))


def _hospitals(pia: Pia) -> Table:
    """Epsilon per hospital with everything that gives it meaning."""
    table = Table(
        title="Loss of one patient (add/remove), by ledger", title_justify="left", box=None, pad_edge=False
    )
    for name in ("hospital", "status", "epsilon, this run", "epsilon, all runs", "delta"):
        table.add_column(name)
    for hospital in pia.dp.per_hospital:
        numbers = (hospital.epsilon_run, hospital.epsilon_cumulative, hospital.delta)
        table.add_row(
            hospital.hospital,
            hospital.status,
            *("undefined" if number is None else f"{number:.4g}" for number in numbers),
        )
    return table


def main() -> None:
    """Entry point of the script; a file that goes or changes while it is read is one sentence."""
    raise SystemExit(command_line.run(app, "wardround-dpo"))


if __name__ == "__main__":
    main()
