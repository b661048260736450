"""What hospitals tell of the noise that an opened sum does not need: collected while it is opened, taken out before it is published.

A hospital that says nothing, or nothing that it can have drawn, leaves its noise in: the sum is as private, and noisier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from privacy.noise.noise_layers import is_believable
from privacy.recipes.tasks import Task
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import statistic_release, without_spare_noise
from secagg.errors import WireError
from secagg.fixed_point import from_ring
from secagg.masks import Ring
from secagg.wire import codec
from secagg.wire.records import SpareNoise


@dataclass(slots=True)
class SpareNoiseTaken:
    """One round's.

    Attributes:
        agreement: the study's.
        task: the round's.
        wrong: hospitals whose noise stays in because of what they told, with the reason.
    """

    agreement: Agreement
    task: Task
    wrong: dict[str, str] = field(default_factory=dict)
    _parts: dict[str, bytearray] = field(default_factory=dict, repr=False)

    def take(self, hospital: str, message: bytes, round_number: int) -> None:
        """One piece; pieces come in order. Whatever is wrong with one, the hospital's noise stays in and nothing else happens."""
        if hospital in self.wrong:
            return
        try:
            piece = codec.unpack("spare_noise", SpareNoise, message)
        except WireError as error:
            self.wrong[hospital] = str(error)
            return
        if piece.round != round_number:
            return
        told = self._parts.setdefault(hospital, bytearray())
        if piece.offset != len(told) or len(told) + len(piece.data) > self._bytes:
            self.wrong[hospital] = "it tells more noise than it added, or with gaps"
            return
        told += piece.data

    def out_of(self, total: Ring, members: Sequence[str]) -> tuple[Ring, tuple[str, ...]]:
        """The sum without the noise that its members told of, and who they are."""
        told: dict[str, NDArray[np.int64]] = {}
        for hospital in members:
            noise = self._told(hospital, len(members))
            if noise is not None:
                told[hospital] = noise
        return without_spare_noise(self.agreement, total, tuple(told.values())), tuple(told)

    @property
    def _bytes(self) -> int:
        return self.task.length * self.agreement.modulus_bits // 8

    def _told(self, hospital: str, members: int) -> NDArray[np.int64] | None:
        data = self._parts.get(hospital)
        if data is None or hospital in self.wrong:
            return None
        if len(data) != self._bytes:
            self.wrong[hospital] = "it told of its noise in part only"
            return None
        ring = np.dtype("<u4") if self.agreement.modulus_bits == 32 else np.dtype("<u8")
        noise = from_ring(np.frombuffer(bytes(data), dtype=ring), self.agreement.modulus_bits)
        release = statistic_release(self.agreement, self.task)
        if not is_believable(noise, release.layers(), members - release.fewest):
            self.wrong[hospital] = "it tells of noise beyond 12 standard deviations of what it can have drawn"
            return None
        return noise


def spare_noise_of(agreement: Agreement, task: Task) -> SpareNoiseTaken | None:
    """What collects a round's spare noise; None where the study's sums have none."""
    return SpareNoiseTaken(agreement, task) if agreement.study.spare_layers else None
