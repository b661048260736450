"""Check a bundle offline: every hash, signature, chain and number is computed again from the evidence.

Works with privacy and secagg alone. A bundle that is missing something can verify (its page says what is missing);
a bundle in which anything was changed, or contradicts itself, cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from pydantic import ValidationError

from privacy.assessment.evidence import RESULT, Evidence, load
from privacy.assessment.manifest import HTML, JSON, MANIFEST, ManifestError, read_manifest, verify_manifest
from privacy.assessment.pia_document import document, document_bytes
from privacy.assessment.pia_schema import Claim, Pia, Status
from privacy.assessment.wording import lint_html
from privacy.link.canonical import NotCanonicalError, parse_canonical
from privacy.link.certificates import fingerprint_groups
from secagg.errors import SecAggError

# Whatever odd bytes can make of typed readers: families of built-in errors, so that a fault of the machine still shows.
UNEVALUATED = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RuntimeError,
    SecAggError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked; ``text`` says in one sentence what was found."""

    id: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of `verify_bundle`: checks of the bundle, then the claims as regenerated from its evidence.

    `identities` are the names that only people can anchor: study, roster and every member's key, each with its fingerprint.
    """

    checks: tuple[Check, ...]
    claims: tuple[Claim, ...] = ()
    identities: tuple[tuple[str, str], ...] = ()

    @property
    def ok(self) -> bool:
        """True when every check passed; failed claims are a failed check."""
        return bool(self.checks) and all(check.ok for check in self.checks)


def verify_bundle(files: Mapping[str, bytes], roster_hash: bytes | None = None) -> Report:
    """Verify a bundle given as path inside the bundle to content.

    Args:
        files: see above.
        roster_hash: of the roster that the reader trusts; without it a bundle of an invented consortium can hold.

    Returns:
        A report; it does not raise on any input: what cannot be evaluated is a check that failed.
    """
    try:
        return _verified(files, roster_hash)
    except UNEVALUATED as error:
        text = f"The bundle cannot be evaluated: {type(error).__name__} while its evidence was read."
        return Report((Check("evaluation", False, text),))


def _verified(files: Mapping[str, bytes], roster_hash: bytes | None) -> Report:
    evidence = load(files)
    checks = list(_manifest(files, evidence))
    expected = document(evidence)
    checks += _document(files, expected)
    checks += [
        Check(f"reading {problem.path}", False, f"{problem.path} cannot be read: {problem.text}.")
        for problem in evidence.problems
    ]
    checks += _copies(files)
    checks += _wording(files)
    if roster_hash is not None:
        checks.append(_anchor(evidence, roster_hash))
    checks.append(_claims(expected.claims))
    return Report(tuple(checks), expected.claims, tuple(_identities(evidence)))


def _anchor(evidence: Evidence, roster_hash: bytes) -> Check:
    """The members are those that the reader knows."""
    same = evidence.roster is not None and evidence.roster.roster.hash == roster_hash
    text = "The bundle's roster is the given one." if same else "The bundle's roster is NOT the given one."
    return Check("roster", same, text)


def _identities(evidence: Evidence) -> Iterator[tuple[str, str]]:
    """Names and fingerprints, to be compared with what the reader knows from elsewhere."""
    if evidence.agreement is not None:
        yield f"study {evidence.agreement.study.id}", evidence.agreement.hash
    if evidence.roster is None:
        return
    roster = evidence.roster.roster
    yield "roster", fingerprint_groups(roster.hash)
    for member in (*roster.hospitals, roster.coordinator):
        yield f"{member.role} {member.id}", fingerprint_groups(member.identity_key)


def _manifest(files: Mapping[str, bytes], evidence: Evidence) -> Iterator[Check]:
    """Every file of the bundle is listed with its hash, nothing else is there, and the coordinator signed the list."""
    if MANIFEST not in files:
        yield Check("manifest", False, "manifest.json is missing.")
        return
    try:
        manifest = read_manifest(files[MANIFEST])
    except ManifestError as error:
        yield Check("manifest", False, f"manifest.json: {error}.")
        return
    changed = manifest.differences(files)
    for path, what in changed:
        yield Check(f"file {path}", False, f"{path} {what}.")
    if not changed:
        yield Check("files", True, f"{len(manifest.files)} files have the hashes that the manifest lists.")
    if evidence.roster is None:
        yield Check(
            "manifest signature", False, "Without a roster nobody's signature on the manifest can be checked."
        )
        return
    try:
        verify_manifest(manifest, evidence.roster.roster.coordinator.identity_key)
    except ManifestError as error:
        yield Check("manifest signature", False, f"manifest.json: {error}.")
        return
    yield Check("manifest signature", True, "The coordinator on the roster signed the manifest.")


def _document(files: Mapping[str, bytes], expected: Pia) -> Iterator[Check]:
    """pia.json follows the schema and is what the evidence gives."""
    if JSON not in files or HTML not in files:
        yield Check("document", False, "pia.json or pia.html is missing.")
        return
    try:
        Pia.model_validate(parse_canonical(files[JSON]))
    except (NotCanonicalError, ValidationError) as error:
        yield Check("schema", False, f"pia.json does not follow the schema: {str(error).splitlines()[0]}.")
        return
    yield Check("schema", True, "pia.json follows the schema.")
    same = document_bytes(expected) == files[JSON]
    found = "equals the document that" if same else "differs from the document that"
    yield Check("document", same, f"pia.json {found} the evidence gives, every number recomputed.")


def _copies(files: Mapping[str, bytes]) -> Iterator[Check]:
    """The result that people open is the one that was checked."""
    if "result.json" in files:
        same = files["result.json"] == files.get(RESULT)
        what = "is the one in the evidence" if same else "differs from the one in the evidence"
        yield Check("result", same, f"result.json {what}.")


def _wording(files: Mapping[str, bytes]) -> Iterator[Check]:
    try:
        findings = lint_html(files.get(HTML, b"").decode("utf-8"))
    except UnicodeDecodeError:
        yield Check("wording", False, "pia.html is not UTF-8.")
        return
    if findings:
        yield Check("wording", False, f"pia.html says {findings[0].passage!r}: {findings[0].why}.")
    else:
        yield Check("wording", True, "pia.html promises nothing that the evidence cannot carry.")


def _claims(claims: tuple[Claim, ...]) -> Check:
    failed = [claim.id for claim in claims if claim.status is Status.FAILED]
    if failed:
        return Check("claims", False, f"The evidence contradicts {', '.join(failed)}.")
    return Check("claims", True, f"None of {len(claims)} claims is contradicted by the evidence.")
