"""A receipt that the journal is not told of: a killed process finds it by its sum, and what the journal must forget it forgets."""

from __future__ import annotations

import pytest

from hospital_node.journal import Journal
from hospital_node.sum_store import SumStore
from privacy.studies import exchange
from secagg.state_codec import decode_state, encode_state
from secagg.states import Agreed, Opened, Ready
from tests.consortium import Hand, offer
from tests.unit.hospital_node.rounds import kinds, refusal, second_round


def stored(hand: Hand, hospital: str) -> bytes:
    """The state that the hospital's journal holds."""
    state = hand.world.nodes[hospital].journal.state(bytes.fromhex(hand.world.agreement.hash))
    assert state is not None
    return state


def killed(hand: Hand, hospital: str) -> None:
    """The process ends here; a new one on its files is offered the study again."""
    hand.world.restart(hospital)
    hand.ask(hospital, offer(hand.world))


@pytest.mark.threat("FL-09", control="C-MODELBIND")
def test_a_killed_process_is_where_its_last_receipt_left_it(hand: Hand) -> None:
    second_round(hand)
    node = hand.world.nodes["a"]
    assert node.state is not None
    before = encode_state(node.state)
    assert isinstance(decode_state(stored(hand, "a"), node.identity), Opened)
    killed(hand, "a")
    state = hand.world.nodes["a"].state
    assert isinstance(state, Ready)
    assert encode_state(state) == before
    # Another history than the one whose receipt it accepted before it was killed.
    receipt, hand.last_receipt = hand.last_receipt, b""
    _, order = hand.order(2)
    assert "another history than the receipt of round 1" in refusal(hand.ask("a", order)).reason
    assert "are over" in refusal(hand.ask("a", receipt)).reason


def test_the_next_answer_journals_the_receipt_before_it(hand: Hand) -> None:
    theta = second_round(hand)
    _, order = hand.order(2, model=exchange.model_bytes(theta))
    assert kinds(hand.ask("a", order))[0] == "upload_header"
    before = stored(hand, "a")
    (hand.world.root / "state" / "a" / "reports" / "sums").rename(hand.world.root / "lost")
    killed(hand, "a")
    state = hand.world.nodes["a"].state
    assert state is not None
    assert encode_state(state) == before
    assert decode_state(before, hand.world.nodes["a"].identity).after.last_receipt.round == 1


def test_what_was_not_opened_is_forgotten_with_the_receipt(
    hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its seeds and shares would lie in the journal until the next round."""
    node = hand.world.nodes["a"]
    with monkeypatch.context() as patch:
        commit, states = Journal.commit, list[bytes]()
        patch.setattr(Journal, "commit", lambda *a, **k: (commit(*a, **k), states.append(stored(hand, "a"))))
        _, receipt, _ = hand.round(1)
    agreed = next(s for s in (decode_state(data, node.identity) for data in states) if type(s) is Agreed)
    node.state = agreed
    hand.ask("a", receipt)
    assert isinstance(decode_state(stored(hand, "a"), node.identity), Ready)


def test_a_vector_in_a_file_goes_with_its_round(hand: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    node = hand.world.nodes["a"]
    monkeypatch.setattr(node.journal, "_file_bytes", 100)
    _, receipt, _ = hand.round(1)
    assert node.keeps_files
    hand.ask("a", receipt)
    assert not node.keeps_files
    assert isinstance(decode_state(stored(hand, "a"), node.identity), Ready)


@pytest.mark.parametrize("kept", ["without its receipt", "behind the round"])
def test_a_sum_that_brings_no_receipt_back_leaves_it_to_the_journal(
    hand: Hand, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """What an earlier version kept names none; one that is still being written is found by no killed process."""
    _, receipt, _ = hand.round(1)
    put = SumStore.put

    def puts(store: SumStore, name: str, *parts: bytes, durable: bool = True) -> bool:
        return put(store, name, *parts, durable=durable or kept == "behind the round")

    monkeypatch.setattr(SumStore, "put", puts)
    hand.ask("a", receipt)
    node = hand.world.nodes["a"]
    journaled = decode_state(stored(hand, "a"), node.identity)
    assert type(journaled) is (Opened if kept == "without its receipt" else Ready)
    assert node.work is not None
    node.work.sums._store.wait()
    if kept == "without its receipt":
        log = node.admission.reports / "sums" / hand.world.agreement.hash
        head, _, total = (SumStore(log).get("1.sum") or b"").partition(b"\n")
        start = head.index(b',"receipt"')
        put(SumStore(log), "1.sum", head[:start] + b"}\n", total)
        SumStore(log).wait()
        killed(hand, "a")
        assert isinstance(hand.world.nodes["a"].state, Opened)
        # Where it comes again the sum is known, and still names none.
        hand.ask("a", receipt)
        assert isinstance(decode_state(stored(hand, "a"), node.identity), Ready)
