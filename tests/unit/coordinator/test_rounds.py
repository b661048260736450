"""The round engine over real nodes: who is in a sum, who is named, and what ends a round."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coordinator import rounds
from coordinator.gather import Silence
from coordinator.outcome import Outcome
from privacy.studies.exchange import model_bytes
from privacy.studies.next_model import start_model
from secagg import agreed_set, identity
from secagg.states import Uploaded
from secagg.wire import codec
from secagg.wire.records import Abort, Seals, Signed, UploadHeader, VectorChunk
from tests.bent_link import Bend
from tests.consortium import HOSPITALS, World, sha256


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path)


def first_round(world: World) -> Outcome:
    """Joins and runs the life table's round."""
    run = world.study_run()
    run.state.open_study(run.study_hash, world.study.id, b"", "")
    run._join()
    outcome = run._round(1, b"")
    run.state.close()
    return outcome


class BadDealer:
    """A hospital that seals garbage for some receivers and signs for it: it holds its own key."""

    def __init__(self, world: World, dealer: str, receivers: Iterable[str]) -> None:
        self.world, self.dealer, self.receivers = world, dealer, frozenset(receivers)
        self.header = b""

    def __call__(self, hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if hospital != self.dealer or kind not in ("upload_header", "seals"):
            return (message,)
        if kind == "upload_header":
            self.header = message
            return ()
        seals = codec.unpack("seals", Seals, message)
        garbled = tuple(
            replace(s, ciphertext=bytes(len(s.ciphertext))) if s.receiver in self.receivers else s
            for s in seals.seals
        )
        payload = codec.encode(Seals(seals.round, garbled))
        signed = codec.unpack("upload_header", Signed, self.header)
        header = replace(codec.decode(UploadHeader, signed.body), seals_sha256=sha256(payload))
        state = self.world.nodes[hospital].state
        assert isinstance(state, Uploaded)
        body = codec.encode(header)
        tag = agreed_set.header_label(state.frame, header)
        signature = identity.sign(self.world.keys[hospital].identity_private, tag, body)
        # Its node holds to the forged header, as a dishonest one would.
        forged = agreed_set.header_hash(state.frame, body)
        self.world.nodes[hospital].state = replace(state, own_header_hash=forged)
        return codec.pack("upload_header", Signed(body, signature)), codec.wrap("seals", payload)


def left_out(outcome: Outcome) -> list[tuple[str, str, str]]:
    return [(s.hospital, s.step, s.kind) for s in outcome.missing]


def test_a_round_of_four_is_the_exact_sum_of_what_they_recorded(world: World) -> None:
    outcome = first_round(world)
    assert (outcome.status, outcome.answered, outcome.missing) == ("done", HOSPITALS, ())
    assert outcome.total is not None
    np.testing.assert_array_equal(outcome.total, world.recorded(1, HOSPITALS))


@pytest.mark.parametrize("receivers", [("a",), ("a", "b"), ("a", "b", "c")])
def test_a_dealer_of_bad_shares_leaves_the_set_and_who_noticed_stays(
    world: World, receivers: tuple[str, ...]
) -> None:
    world.link.up = BadDealer(world, "d", receivers)
    outcome = first_round(world)
    assert (outcome.status, outcome.answered) == ("done", ("a", "b", "c"))
    assert left_out(outcome) == [("d", "agree", "blamed")]
    assert "the share dealt by d to a does not match its commitment" in outcome.missing[0].reason
    assert outcome.total is not None
    np.testing.assert_array_equal(outcome.total, world.recorded(1, "abc"))


class OneAccuser:
    """`accuser` says at agree that the share of `dealer` is bad, as often as it is asked with the dealer in the set."""

    def __init__(self, accusations: dict[str, str]) -> None:
        self.accusations = accusations

    def __call__(self, hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        dealer = self.accusations.pop(hospital, "") if kind == "agreement" else ""
        if not dealer:
            return (message,)
        return (codec.pack("abort", Abort(1, f"the share dealt by {dealer} does not match", dealer)),)


def test_the_named_dealer_is_missing_at_agree_with_the_reason(world: World) -> None:
    world.link.up = OneAccuser({"a": "d"})
    outcome = first_round(world)
    assert (outcome.status, outcome.answered) == ("done", ("a", "b", "c"))
    assert outcome.missing == (
        Silence("d", "agree", "blamed", "a says: the share dealt by d does not match", "a"),
    )


def test_without_the_rule_the_reporter_would_be_lost_and_the_dealer_kept(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "leave_the_set", lambda silent, proposed, accusations: silent)
    world.link.up = OneAccuser({"a": "d"})
    outcome = first_round(world)
    assert outcome.answered == ("b", "c", "d")
    assert left_out(outcome) == [("a", "agree", "abort")]


def test_who_accuses_alone_again_is_left_out_itself(world: World) -> None:
    """d is honest; a says in every round that its share is bad."""

    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if (hospital, kind) != ("a", "agreement") or under_way[0] in reported:
            return (message,)
        reported.append(under_way[0])
        return (codec.pack("abort", Abort(under_way[0], "bad share", "d")),)

    under_way, reported = [1], list[int]()
    world.link.up = up
    run = world.study_run()
    run.state.open_study(run.study_hash, world.study.id, b"", "")
    run._join()
    first = run._round(1, b"")
    assert left_out(first) == [("d", "agree", "blamed")]
    assert (first.missing[0].culprit, "a says" in first.missing[0].reason) == ("a", True)
    under_way[0] = 2
    start = start_model(world.agreement, first.total, first.answered)
    second = run._round(2, model_bytes(start))
    assert second.answered == ("b", "c", "d")
    assert left_out(second) == [("a", "agree", "blaming")]
    assert "accuses d alone" in second.missing[0].reason


@pytest.mark.parametrize("named", ["", "a", "nobody", "coordinator"])
def test_who_names_nobody_of_the_set_or_itself_leaves_itself(world: World, named: str) -> None:
    class Refuses(OneAccuser):
        def __call__(self, hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
            if (hospital, kind) == ("a", "agreement"):
                return (codec.pack("abort", Abort(1, "no", named)),)
            return (message,)

    world.link.up = Refuses({})
    outcome = first_round(world)
    assert (outcome.answered, left_out(outcome)) == (("b", "c", "d"), [("a", "agree", "abort")])


def test_two_that_name_each_other_leave_too_few(world: World) -> None:
    world.link.up = OneAccuser({"a": "b", "b": "a"})
    outcome = first_round(world)
    assert outcome.status == "aborted"
    assert "2 hospitals at step agree, the threshold is 3" in outcome.reason
    assert left_out(outcome) == [("a", "agree", "blamed"), ("b", "agree", "blamed")]


def test_an_abort_of_another_round_silences_nobody(world: World) -> None:
    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        stale = codec.pack("abort", Abort(7, "of long ago", ""))
        return (stale, message) if kind == "agreement" else (message,)

    world.link.up = up
    assert first_round(world).answered == HOSPITALS


def silent_at(step: str, who: str) -> Bend:
    """Bends up so that `who` never answers this kind of message."""

    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        return () if (hospital, kind) == (who, step) else (message,)

    return up


@pytest.mark.parametrize(
    ("kind", "step", "members"),
    [
        ("upload_header", "upload", "abc"),
        ("seals", "upload", "abc"),
        ("vector_chunk", "upload", "abc"),
        ("agreement", "agree", "abc"),
        ("shares", "open", "abcd"),
    ],
)
def test_a_silent_hospital_is_named_and_the_sum_is_exact(
    world: World, kind: str, step: str, members: str
) -> None:
    world.link.up = silent_at(kind, "d")
    outcome = first_round(world)
    assert (outcome.status, outcome.answered) == ("done", tuple(members))
    assert left_out(outcome) == [("d", step, "deadline")]
    assert outcome.total is not None
    np.testing.assert_array_equal(outcome.total, world.recorded(1, members))
    if len(members) < 4:
        assert not np.array_equal(outcome.total, world.recorded(1, HOSPITALS))


@pytest.mark.parametrize(
    ("kind", "step"), [("upload_header", "upload"), ("agreement", "agree"), ("shares", "open")]
)
def test_two_silent_hospitals_are_too_few(world: World, kind: str, step: str) -> None:
    world.link.up = lambda h, k, m: () if (h in "cd" and k == kind) else (m,)
    outcome = first_round(world)
    assert (outcome.status, outcome.total, outcome.receipt) == ("aborted", None, None)
    assert f"2 hospitals at step {step}, the threshold is 3" in outcome.reason
    assert [s.hospital for s in outcome.missing] == ["c", "d"]
    # Everybody is told, and what was reserved stays charged.
    assert world.ledger("a") == [("RESERVE", 1), ("SPENT", 1), ("ABORT", 1)]


def test_who_is_shrunk_out_at_agree_and_again_is_out_once_each(world: World) -> None:
    """Silence at the second set after one at the first: with four of four needed three, the round ends."""
    asked: list[str] = []

    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind == "agreement":
            asked.append(hospital)
            if hospital == "d" or (hospital == "c" and asked.count("c") == 2):
                return ()
        return (message,)

    world.link.up = up
    outcome = first_round(world)
    assert outcome.status == "aborted"
    assert left_out(outcome) == [("c", "agree", "deadline"), ("d", "agree", "deadline")]


def test_a_vector_that_is_not_the_signed_one_is_not_summed(world: World) -> None:
    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if (hospital, kind) != ("b", "vector_chunk"):
            return (message,)
        chunk = codec.unpack(kind, VectorChunk, message)
        return (codec.pack(kind, replace(chunk, data=bytes([chunk.data[0] ^ 1]) + chunk.data[1:])),)

    world.link.up = up
    outcome = first_round(world)
    assert outcome.answered == ("a", "c", "d")
    assert left_out(outcome) == [("b", "upload", "refused")]


def test_a_wrong_offset_costs_the_sender_its_place(world: World) -> None:
    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if (hospital, kind) != ("b", "vector_chunk"):
            return (message,)
        return (codec.pack(kind, replace(codec.unpack(kind, VectorChunk, message), offset=8)),)

    world.link.up = up
    outcome = first_round(world)
    assert outcome.answered == ("a", "c", "d")
    assert "offset 8 where 0 was due" in outcome.missing[0].reason


def test_garbage_on_the_wire_silences_its_sender_alone(world: World) -> None:
    world.link.up = lambda h, k, m: (b"\x07garbage",) if (h, k) == ("c", "seals") else (m,)
    outcome = first_round(world)
    assert outcome.answered == ("a", "b", "d")
    assert left_out(outcome) == [("c", "upload", "refused")]


def test_a_garbage_vector_under_a_good_signature_aborts_by_the_check_coordinate(world: World) -> None:
    """A hospital that signs another vector than the masked one: no sum is published."""
    state: dict[str, bytes] = {}

    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if hospital != "b" or kind not in ("upload_header", "seals", "vector_chunk"):
            return (message,)
        state[kind] = message
        if kind != "vector_chunk":
            return ()
        chunk = codec.unpack(kind, VectorChunk, message)
        garbage = bytes(len(chunk.data))
        signed = codec.unpack("upload_header", Signed, state["upload_header"])
        header = replace(codec.decode(UploadHeader, signed.body), vector_sha256=sha256(garbage))
        node = world.nodes["b"].state
        assert isinstance(node, Uploaded)
        body = codec.encode(header)
        signature = identity.sign(
            world.keys["b"].identity_private, agreed_set.header_label(node.frame, header), body
        )
        # Its node must hold to the forged header, as a dishonest one would.
        world.nodes["b"].state = replace(node, own_header_hash=agreed_set.header_hash(node.frame, body))
        return (
            codec.pack("upload_header", Signed(body, signature)),
            state["seals"],
            codec.pack(kind, replace(chunk, data=garbage)),
        )

    world.link.up = up
    outcome = first_round(world)
    assert (outcome.status, outcome.total) == ("aborted", None)
    assert "check coordinate" in outcome.reason


def test_spooled_vectors_are_gone_after_every_round(world: World) -> None:
    first_round(world)
    assert not (world.root / "spool").exists()


def test_a_hospital_that_never_advertises_is_left_out_and_named(world: World) -> None:
    world.link.up = silent_at("advert", "b")
    run, executed = world.execute()
    assert executed.failed is None
    assert run.members == {"a", "c", "d"}
    assert [(s.hospital, s.step) for s in executed.record.refused] == [("b", "advertise")]
    assert all(outcome.answered == ("a", "c", "d") for outcome in run.outcomes)


def test_too_few_adverts_end_the_study_before_a_round(world: World) -> None:
    world.link.up = lambda h, k, m: () if h in "bc" and k == "advert" else (m,)
    run, executed = world.execute()
    assert executed.failed is not None
    assert executed.failed.exit_code == 3
    assert "no session could be opened" in str(executed.failed)
    assert run.outcomes == []
    assert all(world.ledger(h) == [] for h in HOSPITALS)


def test_an_advert_of_another_hospital_is_refused(world: World) -> None:
    kept: dict[str, bytes] = {}

    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind == "advert":
            kept[hospital] = message
            return (kept["a"],) if hospital == "b" else (message,)
        return (message,)

    world.link.up = up
    run, executed = world.execute()
    assert run.members == {"a", "c", "d"}
    assert executed.record.refused[0].hospital == "b"
    assert "advert of another hospital" in executed.record.refused[0].reason
