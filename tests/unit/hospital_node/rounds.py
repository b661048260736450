"""What tests of a node say of its answers, and the rounds that many of them begin with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from privacy.studies import exchange, next_model
from secagg.fixed_point import from_ring
from secagg.wire import codec
from secagg.wire.records import Abort
from tests.consortium import HOSPITALS, Hand, offer


def kinds(messages: list[bytes]) -> list[str]:
    return [codec.unwrap(message)[0] for message in messages]


def refusal(messages: list[bytes]) -> Abort:
    """The one abort that came back."""
    (message,) = messages
    return codec.unpack("abort", Abort, message)


def start_of(hand: Hand, total: np.ndarray, members: tuple[str, ...]) -> np.ndarray:
    """The model that round 2 must order."""
    agreement = hand.world.agreement
    return next_model.start_model(agreement, from_ring(total, agreement.modulus_bits), members)


def second_round(hand: Hand) -> np.ndarray:
    """Runs the life table, hands out its receipt; returns the model that follows."""
    total, receipt, members = hand.round(1)
    for hospital in HOSPITALS:
        assert hand.ask(hospital, receipt) == []
    return start_of(hand, total, members)


def lenient(hand: Hand, hospital: str = "a") -> None:
    """A new process with room for lost rounds."""
    hand.world.with_policy(hand.world.restart(hospital), aborted_rounds_maximum=3)
    hand.ask(hospital, offer(hand.world))


def trap(value: float) -> Callable[[np.ndarray], bytes]:
    """The right model with one coordinate that the coordinator chose."""

    def model(right: np.ndarray) -> bytes:
        wrong = right.copy()
        wrong[0] = value
        return exchange.model_bytes(wrong)

    return model
