"""Parameters, contexts, identities, rosters and secrets."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from itertools import product

import pytest
import rfc8785

from secagg import identity
from secagg.context import Context, label
from secagg.errors import BadSignature, ParameterError, RosterError
from secagg.params import SecAggParams, default_threshold
from secagg.roster import (
    Member,
    Roster,
    SignedRoster,
    parse_roster,
    parse_signed_roster,
    sign_roster,
    verify_signed_roster,
)
from secagg.secret import SecretBytes
from tests.unit.secagg.rounds import entropy, key_of, make_roster

NAMES = ("north", "east", "south", "west")


@pytest.mark.parametrize(
    ("n", "colluding", "threshold"), [(3, 1, 3), (4, 1, 3), (5, 1, 4), (3, 0, 2), (10, 3, 7)]
)
def test_default_threshold(n: int, colluding: int, threshold: int) -> None:
    assert default_threshold(n, colluding) == threshold


@pytest.mark.threat("FL-14", control="C-THRESH")
def test_exactly_the_admissible_parameters_are_accepted() -> None:
    for n, colluding, threshold in product(range(1, 8), range(8), range(9)):
        admissible = (
            n >= 3
            and colluding < n
            and 2 * threshold > n + colluding
            and threshold >= colluding + 2
            and threshold <= n
        )
        if admissible:
            SecAggParams(n, colluding, threshold, 32, 1)
        else:
            with pytest.raises(ParameterError):
                SecAggParams(n, colluding, threshold, 32, 1)


@pytest.mark.parametrize(("bits", "dim"), [(16, 1), (33, 1), (32, 0), (32, 1 << 40)])
def test_ring_and_dim_are_bounded(bits: int, dim: int) -> None:
    with pytest.raises(ParameterError):
        SecAggParams(4, 1, 3, bits, dim)


def test_label_is_injective() -> None:
    context = Context(1, bytes(32), bytes(32), bytes(16))
    tags = [
        label(None, "ab"),
        label(None, "a", b="c"),
        label(None, "a", b=b"c"),
        label(None, "a", bc=""),
        label(None, "a", b="", c=""),
        label(None, "a", b="\0\0\0\0\0\0\0\0"),
        label(None, "a", b=0),
        label(None, "a", b=bytes(8)),
        label(context, "a"),
        label(context, "a", b="c"),
        label(replace(context, session_id=b"\1" * 16), "a"),
        label(replace(context, study_hash=b"\1" * 32), "a"),
        label(replace(context, roster_hash=b"\1" * 32), "a"),
    ]
    assert len(set(tags)) == len(tags)
    assert label(None, "a", b="1", c="2") == label(None, "a", c="2", b="1")
    # Self-delimiting: none is a prefix of another.
    assert not any(a != b and b.startswith(a) for a, b in product(tags, tags))


def test_context_refuses_other_versions_and_lengths() -> None:
    for bad in (
        (2, bytes(32), bytes(32), bytes(16)),
        (1, bytes(31), bytes(32), bytes(16)),
        (1, bytes(32), bytes(32), b""),
    ):
        with pytest.raises(ParameterError):
            Context(*bad)


def test_signature_is_bound_to_label_and_body() -> None:
    private = key_of("north")
    public = identity.public_key(private)
    signature = identity.sign(private, b"label", b"body")
    for _ in range(2):  # the second time from memory
        identity.verify(public, b"label", b"body", signature)
    for tag, body, sig in (
        (b"labelb", b"ody", signature),
        (b"label", b"bodz", signature),
        (b"label", b"body", bytes(64)),
    ):
        with pytest.raises(BadSignature):
            identity.verify(public, tag, body, sig)
    for other in (identity.public_key(key_of("south")), bytes(31)):
        with pytest.raises(BadSignature):
            identity.verify(other, b"label", b"body", signature)


def test_roster_round_trip_and_order() -> None:
    roster = make_roster(NAMES)
    assert parse_roster(roster.canonical) == roster
    assert [roster.position(name) for name in ("east", "north", "south", "west")] == [1, 2, 3, 4]
    assert "coordinator" not in roster
    with pytest.raises(RosterError):
        roster.position("nobody")
    with pytest.raises(RosterError):
        Roster(1, roster.hospitals[::-1], roster.coordinator)


@pytest.mark.parametrize("shared", ["id", "identity_key", "certificate_sha256"])
def test_roster_refuses_duplicates(shared: str) -> None:
    one, two, *rest = make_roster(NAMES).hospitals
    same = replace(two, **{shared: getattr(one, shared)})
    with pytest.raises(RosterError):
        Roster(1, (one, same, *rest), make_roster(NAMES).coordinator)


def test_coordinator_must_not_share_a_hospitals_key() -> None:
    roster = make_roster(NAMES)
    with pytest.raises(RosterError):
        replace(
            roster, coordinator=replace(roster.coordinator, identity_key=roster.hospitals[0].identity_key)
        )


@pytest.mark.parametrize("bad", ["", "North", "../x", "a" * 64, "a b", "ä"])
def test_ids_are_file_names(bad: str) -> None:
    with pytest.raises(RosterError):
        Member(bad, "hospital", bytes(32), bytes(32))


def test_every_hospital_signs_the_roster() -> None:
    roster = make_roster(NAMES)
    signatures = {name: sign_roster(key_of(name), roster) for name in NAMES}
    verify_signed_roster(SignedRoster(roster, signatures))
    with pytest.raises(RosterError, match="north"):
        verify_signed_roster(SignedRoster(roster, {k: v for k, v in signatures.items() if k != "north"}))
    with pytest.raises(RosterError, match="north"):
        verify_signed_roster(SignedRoster(roster, {**signatures, "north": signatures["east"]}))
    with pytest.raises(RosterError, match="stranger"):
        verify_signed_roster(SignedRoster(roster, {**signatures, "stranger": bytes(64)}))
    changed = replace(
        roster, coordinator=replace(roster.coordinator, certificate_sha256=entropy("another certificate"))
    )
    with pytest.raises(RosterError):
        verify_signed_roster(SignedRoster(changed, signatures))


def test_signed_roster_file_round_trip() -> None:
    roster = make_roster(NAMES)
    signed = SignedRoster(roster, {name: sign_roster(key_of(name), roster) for name in NAMES})
    assert parse_signed_roster(signed.canonical) == signed
    raw = json.loads(signed.canonical)
    with pytest.raises(RosterError, match="canonical"):
        parse_signed_roster(json.dumps(raw).encode())
    for path, value in (("roster", 1), ("signatures", []), ("signatures", {"north": 3})):
        with pytest.raises(RosterError):
            parse_signed_roster(rfc8785.dumps({**raw, path: value}))


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b"[" * 100_000, b'{"version":1}', b"null"])
def test_roster_files_never_crash(data: bytes) -> None:
    with pytest.raises(RosterError):
        parse_roster(data)
    with pytest.raises(RosterError):
        parse_signed_roster(data)


def test_secrets_do_not_print_or_pickle() -> None:
    secret = SecretBytes(b"top secret bytes")
    for text in (repr(secret), str(secret), f"{secret}", repr({"a": [secret]})):
        assert "top" not in text
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)
    assert secret == SecretBytes(b"top secret bytes")
    assert secret != SecretBytes(b"top secret byteZ")
    assert secret != b"top secret bytes"
