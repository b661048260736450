"""The signed sums that this hospital has seen of a study, on disk: what the next model must follow from, also after a restart.

Everything here was released already and is no secret. What a round ordered is kept before the hospital answers, a sum before its receipt is
taken, so that whatever the journal knows of is here too.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from privacy.analytics.evaluated import Evaluated
from privacy.link.canonical import canonical, parse_canonical
from privacy.recipes.fit import Fit
from privacy.studies import exchange, next_model
from privacy.studies.agreement import Agreement
from secagg.fixed_point import from_ring
from secagg.receipt import VerifiedReceipt
from secagg.wire.records import RoundOrder


@dataclass(frozen=True, slots=True)
class Summed:
    """A finished round.

    Attributes:
        round: its number.
        model: as it was ordered; None where this hospital was not told.
        total: the signed sum, (dim,).
        members: who is in it.
        fit: the recipe's fold over all sums up to this one; None where one was missed, or for recipes that average models.
        evaluated: what the evaluation's rounds order; None where it cannot be told.
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
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._agreement = agreement
        self._rounds: set[int] = set()
        self._last: Summed | None = None
        self._writer = ThreadPoolExecutor(1, "sums")
        for number in sorted(int(path.stem) for path in folder.glob("*.sum")):
            header, _, total = (folder / f"{number}.sum").read_bytes().partition(b"\n")
            told = parse_canonical(header)
            self._last = self._followed(number, told["previous"], tuple(told["members"]), total)
            self._rounds.add(number)

    @property
    def receipted(self) -> Collection[int]:
        """The rounds whose receipt this hospital accepted."""
        return self._rounds

    def ordered(self, told: RoundOrder) -> Callable[[], None]:
        """Keeps what a round trains on while the round is worked at.

        Returns:
            What waits until it is on the disk; nothing may leave before.
        """
        return self._writer.submit(_write, self._folder / f"{told.round}.model", told.model).result

    def receive(self, verified: VerifiedReceipt) -> None:
        """Keeps a signed sum; the same once more changes nothing.

        Raises:
            ExchangeError: it cannot be a sum of this study, and is not kept: it would be refused again at every start.
        """
        number, members = verified.body.round, tuple(sorted(verified.members))
        if number in self._rounds:
            return
        header = canonical({"previous": verified.body.previous_round, "members": list(members)})
        summed = self._followed(number, verified.body.previous_round, members, verified.sum)
        _write(self._folder / f"{number}.sum", header + b"\n", verified.sum)
        self._last = summed
        self._rounds.add(number)

    def expected(self, told: RoundOrder) -> NDArray[np.float64] | None:
        """The model that an order must carry, (parameters,); None where it cannot be told.

        It can wherever the order continues the latest receipt of this hospital: a round that was aborted in between leaves the model
        alone. Before the first receipt it is the public start.
        """
        last = self._last
        if told.previous_round != (0 if last is None else last.round):
            return None
        task = exchange.task_of(self._agreement, told.round)
        if exchange.task_at(self._agreement, told.round).part == "analysis":
            return None if last is None or last.evaluated is None else last.evaluated.ordered(task)
        if last is not None:
            return next_model.expected_model(
                self._agreement, task, last.round, last.model, last.total, last.members, last.fit
            )
        return next_model.start_model(self._agreement, None, ())

    def _followed(self, number: int, previous: int, members: tuple[str, ...], data: bytes) -> Summed:
        """A sum behind the latest one, and what follows from both."""
        agreement, before = self._agreement, self._last
        ring = np.dtype("<u4") if agreement.modulus_bits == 32 else np.dtype("<u8")
        total = from_ring(np.frombuffer(data, dtype=ring), agreement.modulus_bits)
        if before is not None and before.round != previous:
            before = None
        fit = next_model.followed(agreement, None if before is None else before.fit, number, total, members)
        path = self._folder / f"{number}.model"
        model = path.read_bytes() if path.is_file() else None
        summed = Summed(number, model, total, members, fit)
        return replace(summed, evaluated=self._evaluated(summed, before))

    def _evaluated(self, last: Summed, before: Summed | None) -> Evaluated | None:
        agreement = self._agreement
        task = exchange.task_at(agreement, last.round)
        if task.part == "fit":
            theta = next_model.result_after(
                agreement, last.fit, last.round, last.model, last.total, last.members
            )
            return None if theta is None else Evaluated(theta, agreement.study.intervals)
        if before is None or before.evaluated is None:
            return None
        released = exchange.statistic(agreement, task, last.total, last.members)
        return before.evaluated.after(task.name, released.values)


def _write(path: Path, *parts: bytes) -> None:
    """All of it or nothing, and on the disk."""
    draft = path.with_suffix(".draft")
    with draft.open("wb") as file:
        for part in parts:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
