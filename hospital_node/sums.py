"""The signed sums that this hospital has seen of a study, on disk: what the next model must follow from, also after a restart.

Everything here was released already and is no secret. What a round ordered, and the sum before it, are on the disk before the hospital
answers. A loss of power, or kill -9, before that may take a sum back whose receipt the journal knows: then the one next model cannot be checked, as where
this hospital was away when the receipt came. The other way round a receipt need not be journaled whose sum a killed process finds here: the sum names it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node.sum_store import SumStore
from privacy.analytics.evaluated import Evaluated
from privacy.link.canonical import canonical, parse_canonical
from privacy.recipes.fit import Fit
from privacy.studies import exchange, next_model
from privacy.studies.agreement import Agreement
from privacy.studies.next_model import Match
from secagg.fixed_point import from_ring
from secagg.receipt import NO_RECEIPT, ReceiptRef, VerifiedReceipt
from secagg.wire.records import RoundOrder

_SUM, _MODEL, _FOLLOWS = ".sum", ".model", ".follows"


@dataclass(frozen=True, slots=True)
class Summed:
    """A finished round.

    Attributes:
        round: its number.
        model: as it was ordered; None where this hospital was not told.
        total: the signed sum, (dim,).
        members: who is in it.
        fit: the recipe's fold over all sums up to this one; None where one was missed, or for recipes that average models.
        evaluated: what the evaluation's rounds order behind one of its own; None where it cannot be told, and behind those of the fit.
    """

    round: int
    model: bytes | None
    total: NDArray[np.int64]
    members: tuple[str, ...]
    fit: Fit | None
    evaluated: Evaluated | None = None


class Sums:
    """The finished rounds of one study in a folder of its own."""

    def __init__(self, folder: Path, agreement: Agreement) -> None:
        self._store = SumStore(folder)
        self._agreement = agreement
        self._rounds: set[int] = set()
        self._last: Summed | None = None
        # The round under way, and what it trains on.
        self._ordered: tuple[int, bytes | None] = (0, None)
        # Of the latest sum; none where an earlier version kept it.
        self._receipt = NO_RECEIPT
        sums = [name for name in self._store.names() if name.endswith(_SUM)]
        for number in sorted(int(name.removesuffix(_SUM)) for name in sums):
            header, _, total = (self._store.get(f"{number}{_SUM}") or b"").partition(b"\n")
            told = parse_canonical(header)
            self._last = self._followed(number, told["previous"], tuple(told["members"]), total)
            named = bytes.fromhex(told.get("receipt", ""))
            self._receipt = ReceiptRef(number, named) if named else NO_RECEIPT
            self._rounds.add(number)

    @property
    def receipted(self) -> Collection[int]:
        """The rounds whose receipt this hospital accepted."""
        return self._rounds

    @property
    def receipt(self) -> ReceiptRef:
        """The receipt of the latest sum."""
        return self._receipt

    def ordered(self, told: RoundOrder, follows: bool) -> Callable[[], None]:
        """Keeps what a round trains on while the round is worked at; of a model that is the expected one, only that.

        Args:
            told: the order.
            follows: its model is to the bit the expected one.

        Returns:
            What waits until it is on the disk, and the sums before it; nothing may leave before.
        """
        self._ordered = (told.round, told.model)
        if follows:
            self._store.put(f"{told.round}{_FOLLOWS}", b"")
        else:
            self._store.put(f"{told.round}{_MODEL}", told.model)
        return self._store.wait

    def receive(self, verified: VerifiedReceipt) -> bool:
        """Keeps a signed sum; the same once more changes nothing.

        Returns:
            Whether a killed process finds it again, with its receipt.

        Raises:
            ExchangeError: it cannot be a sum of this study, and is not kept: it would be refused again at every start.
        """
        number, members = verified.body.round, tuple(sorted(verified.members))
        if number in self._rounds:
            return False
        header = canonical(
            {
                "previous": verified.body.previous_round,
                "members": list(members),
                "receipt": verified.ref.hash.hex(),
            }
        )
        summed = self._followed(number, verified.body.previous_round, members, verified.sum)
        is_written = self._store.put(f"{number}{_SUM}", header + b"\n", verified.sum, durable=False)
        self._last, self._receipt = summed, verified.ref
        self._rounds.add(number)
        return is_written

    def match(self, told: RoundOrder, theta: NDArray[np.float64]) -> Match | None:
        """How the model of an order, `theta`, stands to the one that it must carry; None where it cannot be told.

        It can wherever the order continues the latest receipt of this hospital: a round that was aborted in between leaves the model
        alone. Before the first receipt it is the public start.
        """
        agreement, last = self._agreement, self._last
        if told.previous_round != (0 if last is None else last.round):
            return None
        task = exchange.task_at(agreement, told.round)
        evaluates = task.part == "analysis"
        if last is not None and not evaluates:
            return next_model.match_expected(
                agreement, theta, task.name, last.round, last.model, last.total, last.members, last.fit
            )
        expected = self._next(told.round, last)
        return None if expected is None else next_model.match(agreement, theta, expected, evaluates=evaluates)

    def _next(self, number: int, last: Summed | None) -> NDArray[np.float64] | None:
        """What a round trains on that continues `last`."""
        task = exchange.task_at(self._agreement, number)
        if task.part == "analysis":
            evaluated = None if last is None else self._evaluated(last)
            return None if evaluated is None else evaluated.ordered(task.name)
        if last is not None:
            return next_model.expected_model(
                self._agreement, task.name, last.round, last.model, last.total, last.members, last.fit
            )
        return next_model.start_model(self._agreement, None, ())

    def _followed(self, number: int, previous: int, members: tuple[str, ...], data: bytes) -> Summed:
        """A sum behind the latest one, and what follows from both."""
        agreement, before = self._agreement, self._last
        ring = np.dtype("<u4") if agreement.modulus_bits == 32 else np.dtype("<u8")
        total = from_ring(np.frombuffer(data, dtype=ring), agreement.modulus_bits, copy=False)
        # Also where nothing below reads it yet: a sum that cannot be one of this study is not kept.
        exchange.payload_of(agreement, total, members, 0)
        if before is not None and before.round != previous:
            before = None
        fit = next_model.followed(agreement, None if before is None else before.fit, number, total, members)
        model = self._trained_on(number, previous, before)
        return Summed(
            number, model, total, members, fit, self._evaluated_after(number, total, members, before)
        )

    def _trained_on(self, number: int, previous: int, before: Summed | None) -> bytes | None:
        """The model of a round as it was ordered; computed again where it was the expected one. None where this hospital was not told."""
        ordered, model = self._ordered
        if ordered == number:
            return model
        if self._store.get(f"{number}{_FOLLOWS}") is None:
            return self._store.get(f"{number}{_MODEL}")
        due = self._next(number, before) if before is not None or previous == 0 else None
        return None if due is None else exchange.model_bytes(due)

    def _evaluated(self, last: Summed) -> Evaluated | None:
        """What the evaluation's rounds order behind this sum: behind those of the fit the trained model, worked out where it is asked for."""
        agreement = self._agreement
        if exchange.task_at(agreement, last.round).part != "fit":
            return last.evaluated
        theta = next_model.result_after(agreement, last.fit, last.round, last.model, last.total, last.members)
        return None if theta is None else Evaluated(theta, agreement.study.intervals)

    def _evaluated_after(
        self, number: int, total: NDArray[np.int64], members: tuple[str, ...], before: Summed | None
    ) -> Evaluated | None:
        """The same behind a sum of the evaluation itself."""
        task = exchange.task_at(self._agreement, number)
        evaluated = None if task.part == "fit" or before is None else self._evaluated(before)
        if evaluated is None:
            return None
        released = exchange.statistic(self._agreement, task, total, members)
        return evaluated.after(task.name, released.values)
