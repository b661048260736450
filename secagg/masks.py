"""The mask generator and its addition into a vector: AES-128 in counter mode (NIST SP 800-38A, section 6.5).

A seed has 32 bytes: 16 of key and 16 of initial counter, so that a table of keys built in advance finds nothing.
Speed comes from blocks that stay in the processor's cache and from the cipher and NumPy releasing the interpreter lock.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CTR

from secagg.errors import ParameterError
from secagg.secret import SecretBytes

SEED_BYTES = 32
_CIPHER_BLOCK = 16

Ring: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]


@dataclass(frozen=True, slots=True)
class Mask:
    """One mask to add (sign +1) or to subtract (sign -1)."""

    seed: SecretBytes
    sign: int


@dataclass(frozen=True, slots=True)
class Speed:
    """How masks are expanded; no value changes a result.

    Attributes:
        threads: threads over the blocks of one vector.
        block_bytes: bytes expanded and added at a time; a multiple of 16.
    """

    threads: int = 2
    block_bytes: int = 256 << 10

    def __post_init__(self) -> None:
        if self.threads < 1 or self.block_bytes < _CIPHER_BLOCK or self.block_bytes % _CIPHER_BLOCK:
            raise ParameterError("threads must be positive and block_bytes a positive multiple of 16")


DEFAULT_SPEED = Speed()


def add_masks(vector: Ring, masks: Sequence[Mask], speed: Speed = DEFAULT_SPEED) -> None:
    """Add the masks to the vector in place, modulo 2**bits.

    Args:
        vector: (wire_dim,), contiguous, little-endian uint32 or uint64.
        masks: seeds and signs.
        speed: threads and block size.
    """
    if (
        vector.dtype not in (np.dtype("<u4"), np.dtype("<u8"))
        or vector.ndim != 1
        or not vector.flags.c_contiguous
    ):
        raise ParameterError("masks are added to a contiguous vector of little-endian uint32 or uint64")
    blocks = -(-vector.nbytes // speed.block_bytes)
    spans = min(speed.threads, blocks)
    if spans <= 1:
        _add_span(vector, 0, blocks, masks, speed.block_bytes)
        return
    edges = [blocks * i // spans for i in range(spans + 1)]
    with ThreadPoolExecutor(spans) as pool:
        done = [
            pool.submit(_add_span, vector, first, last, masks, speed.block_bytes)
            for first, last in itertools.pairwise(edges)
        ]
        for span in done:
            span.result()


def _add_span(vector: Ring, first: int, last: int, masks: Sequence[Mask], block_bytes: int) -> None:
    """Add the masks to the blocks first <= block < last, looping over the masks inside each block."""
    streams = [(_stream(mask.seed, first * block_bytes), mask.sign) for mask in masks]
    zeros = memoryview(bytes(block_bytes))
    keystream = bytearray(block_bytes + _CIPHER_BLOCK)
    elements = block_bytes // vector.itemsize
    for start in range(first * elements, min(last * elements, vector.size), elements):
        part = vector[start : start + elements]
        mask = np.frombuffer(keystream, dtype=vector.dtype, count=part.size)
        for stream, sign in streams:
            stream.update_into(zeros[: part.nbytes], keystream)
            (np.add if sign > 0 else np.subtract)(part, mask, out=part)


def _stream(seed: SecretBytes, offset: int) -> Any:
    """An encryptor of the seed's keystream from this byte on; the offset is a multiple of 16."""
    key, counter = seed.reveal()[:16], int.from_bytes(seed.reveal()[16:], "big")
    position = (counter + offset // _CIPHER_BLOCK) % (1 << 128)
    return Cipher(AES128(key), CTR(position.to_bytes(16, "big"))).encryptor()
