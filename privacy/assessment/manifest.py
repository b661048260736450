"""``manifest.json``: every file of a bundle with its SHA-256, signed by the coordinator."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from privacy.link.canonical import NotCanonicalError, canonical, parse_canonical, sha256_hex
from secagg.context import label
from secagg.errors import BadSignature
from secagg.identity import sign, verify
from secagg.secret import SecretBytes

MANIFEST = "manifest.json"
JSON = "pia.json"
HTML = "pia.html"

_LABEL = label(None, "bundle-manifest")


class ManifestError(ValueError):
    """The manifest is not one, or is not signed by the coordinator of the roster."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """Path to hexadecimal SHA-256, and the coordinator's signature over the canonical list."""

    files: Mapping[str, str]
    signature: bytes

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return canonical({"files": dict(self.files), "signature": self.signature.hex()})

    def differences(self, bundle: Mapping[str, bytes]) -> tuple[tuple[str, str], ...]:
        """(path, what is wrong) for every file that is changed, missing or not listed."""
        found = []
        for path in sorted({*self.files, *bundle} - {MANIFEST}):
            if path not in bundle:
                found.append((path, "is missing"))
            elif path not in self.files:
                found.append((path, "is not listed in the manifest"))
            elif sha256_hex(bundle[path]) != self.files[path]:
                found.append((path, "was changed after the manifest was signed"))
        return tuple(found)


def listing(files: Mapping[str, bytes]) -> dict[str, str]:
    """What a manifest says of these files, each read by itself; it never lists itself."""
    return {path: sha256_hex(files[path]) for path in files if path != MANIFEST}


def make_manifest(files: Mapping[str, str], identity: SecretBytes) -> Manifest:
    """The signed manifest of what `listing` says of a bundle's files."""
    listed = {path: files[path] for path in sorted(files)}
    return Manifest(listed, sign(identity, _LABEL, canonical(listed)))


def read_manifest(data: bytes) -> Manifest:
    """Parse ``manifest.json``; the signature is not checked here.

    Raises:
        ManifestError: not the canonical JSON of a manifest.
    """
    try:
        value = parse_canonical(data)
    except NotCanonicalError as error:
        raise ManifestError(str(error)) from None
    match value:
        case {"files": dict(files), "signature": str(signature), **rest} if not rest and all(
            isinstance(digest, str) for digest in files.values()
        ):
            try:
                manifest = Manifest(files, bytes.fromhex(signature))
            except ValueError:
                raise ManifestError("the signature is not hexadecimal") from None
            if manifest.to_bytes() == data:
                return manifest
    raise ManifestError("it is not a list of files with a signature")


def verify_manifest(manifest: Manifest, coordinator_key: bytes) -> None:
    """Raise ManifestError unless the holder of this key signed the list."""
    try:
        verify(coordinator_key, _LABEL, canonical(dict(manifest.files)), manifest.signature, what="manifest")
    except BadSignature:
        raise ManifestError("it is not signed by the coordinator of the roster") from None
