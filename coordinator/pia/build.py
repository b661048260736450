"""Write the privacy impact assessment of a finished run into its bundle folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class BuiltPia:
    """Where the assessment is and what its first line says."""

    html: Path
    json: Path
    manifest: Path
    status: str


def build(bundle: Path, *, identity_seed: bytes, tests: Path | None = None) -> BuiltPia:
    """Write ``pia.json``, ``pia.html`` and ``manifest.json`` of the bundle whose evidence folder is filled.

    The caller has written agreement, roster, rounds, receipts, ledgers and result; this adds the threat register,
    the human questions, the package list and, where given, the test evidence, unless they are there already.

    Args:
        bundle: folder with an ``evidence`` folder inside.
        identity_seed: the coordinator's Ed25519 seed, which signs the manifest.
        tests: ``test-evidence.json`` of a test run, or None.
    """
    raise NotImplementedError
