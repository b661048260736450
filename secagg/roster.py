"""Who takes part: identity keys and certificate fingerprints, signed by every hospital."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import rfc8785

from secagg import identity
from secagg.context import label
from secagg.errors import BadSignature, RosterError
from secagg.params import MAX_HOSPITALS
from secagg.secret import SecretBytes

ID_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
MAX_ROSTER_BYTES = 1024 * (MAX_HOSPITALS + 1)


@dataclass(frozen=True, slots=True)
class Member:
    """One party.

    Attributes:
        id: lower-case letters, digits, - and _, at most 63; also a file name.
        role: what it may do.
        identity_key: 32-byte Ed25519 public key.
        certificate_sha256: 32-byte fingerprint of its TLS certificate (DER).
    """

    id: str
    role: Literal["hospital", "coordinator"]
    identity_key: bytes
    certificate_sha256: bytes

    def __post_init__(self) -> None:
        if not ID_PATTERN.fullmatch(self.id):
            raise RosterError(
                "a roster id is not 1 to 63 lower-case letters, digits, - or _; choose another id"
            )
        if self.role not in ("hospital", "coordinator"):
            raise RosterError(f"{self.id}: the role must be hospital or coordinator")
        if len(self.identity_key) != 32 or len(self.certificate_sha256) != 32:
            raise RosterError(f"{self.id}: identity key and certificate fingerprint must have 32 bytes each")
        if identity.is_of_small_order(self.identity_key):
            raise RosterError(f"{self.id}: the identity key is of small order; make a new key")


@dataclass(frozen=True)
class Roster:
    """The closed list of parties; its order fixes share indices and mask signs.

    Attributes:
        version: version of this format, 1.
        hospitals: sorted by id.
        coordinator: the one coordinator.
    """

    version: int
    hospitals: tuple[Member, ...]
    coordinator: Member

    def __post_init__(self) -> None:
        everybody = (*self.hospitals, self.coordinator)
        if self.version != 1:
            raise RosterError(
                f"roster version {self.version} is unknown; install the same release everywhere"
            )
        if any(m.role != "hospital" for m in self.hospitals) or self.coordinator.role != "coordinator":
            raise RosterError("a roster holds hospitals and exactly one coordinator")
        ids = [m.id for m in self.hospitals]
        if not ids or len(ids) > MAX_HOSPITALS or ids != sorted(ids):
            raise RosterError(f"a roster lists 1 to {MAX_HOSPITALS} hospitals sorted by id")
        for what, values in (
            ("id", [m.id for m in everybody]),
            ("identity key", [m.identity_key for m in everybody]),
            ("certificate fingerprint", [m.certificate_sha256 for m in everybody]),
        ):
            if len(set(values)) != len(values):
                raise RosterError(f"two parties on the roster share one {what}; each must make its own")

    @cached_property
    def canonical(self) -> bytes:
        """The roster as RFC 8785 JSON: what is hashed and signed."""
        return rfc8785.dumps(
            {
                "version": self.version,
                "hospitals": [_to_json(m) for m in self.hospitals],
                "coordinator": _to_json(self.coordinator),
            }
        )

    @cached_property
    def hash(self) -> bytes:
        """SHA-256 of the canonical bytes."""
        return hashlib.sha256(self.canonical).digest()

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Hospital ids in roster order."""
        return tuple(m.id for m in self.hospitals)

    @cached_property
    def _positions(self) -> dict[str, int]:
        return {m.id: i for i, m in enumerate(self.hospitals, start=1)}

    def position(self, hospital: str) -> int:
        """Roster position 1..n; also the hospital's share index, which is never taken from a message."""
        if hospital not in self._positions:
            raise RosterError(f"{hospital} is no hospital of this roster")
        return self._positions[hospital]

    def __contains__(self, hospital: object) -> bool:
        return hospital in self._positions

    def member(self, hospital: str) -> Member:
        """The hospital with this id."""
        return self.hospitals[self.position(hospital) - 1]


@dataclass(frozen=True)
class SignedRoster:
    """A roster with the signature of each hospital, by id."""

    roster: Roster
    signatures: Mapping[str, bytes]

    @cached_property
    def canonical(self) -> bytes:
        """RFC 8785 JSON, the form of `roster.json`."""
        return rfc8785.dumps(
            {
                "roster": json.loads(self.roster.canonical),
                "signatures": {who: signature.hex() for who, signature in self.signatures.items()},
            }
        )


def sign_roster(private: SecretBytes, roster: Roster) -> bytes:
    """A hospital's signature over the roster."""
    return identity.sign(private, label(None, "roster"), roster.canonical)


def verify_signed_roster(signed: SignedRoster) -> None:
    """Return only if every hospital, and nobody else, signed this roster.

    Raises:
        RosterError: a signature is missing, unexpected or bad; the hospital is named.
    """
    missing = set(signed.roster.ids) - set(signed.signatures)
    extra = set(signed.signatures) - set(signed.roster.ids)
    if missing:
        raise RosterError(f"not signed by {', '.join(sorted(missing))}; every hospital must sign the roster")
    if extra:
        raise RosterError(
            f"signed by {', '.join(sorted(extra))}, not a hospital of this roster; rebuild the file"
        )
    for member in signed.roster.hospitals:
        try:
            identity.verify(
                member.identity_key,
                label(None, "roster"),
                signed.roster.canonical,
                signed.signatures[member.id],
            )
        except BadSignature:
            raise RosterError(
                f"the signature of {member.id} does not verify; it signed another roster or lost its key"
            ) from None


def parse_roster(data: bytes) -> Roster:
    """Read canonical roster bytes.

    Raises:
        RosterError: not canonical JSON of a roster.
    """
    roster = _roster_from_json(_load(data))
    if roster.canonical != data:
        raise RosterError("the roster is not in canonical form; rebuild it with the roster command")
    return roster


def parse_signed_roster(data: bytes) -> SignedRoster:
    """Read `roster.json`; signatures are not verified here.

    Raises:
        RosterError: not canonical JSON of a signed roster.
    """
    raw = _load(data)
    try:
        signatures = {str(who): bytes.fromhex(value) for who, value in raw["signatures"].items()}
        signed = SignedRoster(_roster_from_json(raw["roster"]), signatures)
        canonical = signed.canonical
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RosterError("roster.json is not a signed roster; rebuild it with the roster command") from error
    if canonical != data:
        raise RosterError("roster.json is not in canonical form; rebuild it with the roster command")
    return signed


def _load(data: bytes) -> Any:
    if len(data) > MAX_ROSTER_BYTES:
        raise RosterError(f"a roster file is at most {MAX_ROSTER_BYTES} bytes long")
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise RosterError("the roster is not JSON; rebuild it with the roster command") from error


def _to_json(member: Member) -> dict[str, str]:
    return {
        "id": member.id,
        "role": member.role,
        "identity_key": member.identity_key.hex(),
        "certificate_sha256": member.certificate_sha256.hex(),
    }


def _member_from_json(raw: Any) -> Member:
    return Member(
        str(raw["id"]),
        raw["role"],
        bytes.fromhex(raw["identity_key"]),
        bytes.fromhex(raw["certificate_sha256"]),
    )


def _roster_from_json(raw: Any) -> Roster:
    try:
        return Roster(
            int(raw["version"]),
            tuple(_member_from_json(m) for m in raw["hospitals"]),
            _member_from_json(raw["coordinator"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RosterError("the file is not a roster; rebuild it with the roster command") from error
