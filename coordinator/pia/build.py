"""Write the privacy impact assessment of a finished run into its bundle folder."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from coordinator.pia.code_identity import installed_packages
from coordinator.pia.render import render
from privacy.assessment.evidence import HUMAN, PACKAGES, ROSTER, TESTS, THREATS, load
from privacy.assessment.human_questions import open_questions
from privacy.assessment.manifest import HTML, JSON, MANIFEST, listing, make_manifest
from privacy.assessment.pia_document import document, document_bytes
from privacy.assessment.pia_schema import Pia
from privacy.link.canonical import canonical
from privacy.link.folder_files import FolderFiles
from secagg.secret import SecretBytes
from threat_model.register import register_bytes

#: Where the sources lie when they were not installed as a wheel: the folder above the packages.
SOURCE_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class BuiltPia:
    """Where the assessment is, and the document it shows."""

    html: Path
    json: Path
    manifest: Path
    document: Pia

    @property
    def status(self) -> str:
        """INCOMPLETE or READY_FOR_REVIEW."""
        return self.document.generator_status


def build(bundle: Path, *, identity: SecretBytes, tests: Path | None = None) -> BuiltPia:
    """Write ``pia.json``, ``pia.html`` and ``manifest.json`` of the bundle whose evidence folder is filled.

    The caller has written agreement, roster, rounds, receipts, ledgers and result; this adds the threat register,
    the human questions, the package list and, where given, the test evidence, unless they are there already.

    Args:
        bundle: folder with an ``evidence`` folder inside.
        identity: the coordinator's Ed25519 seed, which signs the manifest.
        tests: ``test-evidence.json`` of a test run; ignored when the file does not exist.

    Raises:
        WordingError: the page would say something that privacy.assessment.wording refuses; nothing is written then.
    """
    _complete(bundle, tests)
    # Result and model lie beside the evidence: the manifest lists them too, so that a bundle has no unsigned file.
    files = FolderFiles(bundle)
    pia = document(load(files))
    page = render(pia).encode("utf-8")
    made = {JSON: document_bytes(pia), HTML: page}
    manifest = make_manifest({**listing(files), **listing(made)}, identity)
    for path, data in {**made, MANIFEST: manifest.to_bytes()}.items():
        (bundle / path).write_bytes(data)
    return BuiltPia(bundle / HTML, bundle / JSON, bundle / MANIFEST, pia)


def _complete(bundle: Path, tests: Path | None) -> None:
    """Add what the run itself does not write; a file that is there already is kept."""
    (bundle / "evidence").mkdir(parents=True, exist_ok=True)
    additions: dict[str, Callable[[], bytes]] = {
        THREATS: lambda: canonical(json.loads(register_bytes())),
        PACKAGES: lambda: canonical(installed_packages(SOURCE_ROOT).model_dump(mode="json")),
        HUMAN: lambda: canonical(
            [question.model_dump(mode="json") for question in open_questions(_hospitals(bundle))]
        ),
    }
    if tests is not None and tests.is_file():
        additions[TESTS] = tests.read_bytes
    for path, content in additions.items():
        if not (bundle / path).exists():
            (bundle / path).write_bytes(content())


def _hospitals(bundle: Path) -> tuple[str, ...]:
    """Hospitals on the roster, to whom questions go; none where there is no roster."""
    path = bundle / ROSTER
    roster = load({ROSTER: path.read_bytes()} if path.is_file() else {}).roster
    return roster.roster.ids if roster else ()
