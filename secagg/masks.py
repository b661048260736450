"""The mask generator and its addition into a vector: AES-128 in counter mode (NIST SP 800-38A, section 6.5).

A seed has 32 bytes: 16 of key and 16 of initial counter, so that a table of keys built in advance finds nothing.
Speed comes from blocks that stay in the processor's cache, from memory that is touched once, and from the cipher and NumPy
releasing the interpreter lock. Blocks are as large as the cache allows, because two threads hand that lock over at every
call; the memory that a keystream is written to is kept, because a block's worth of new pages costs as much as its mask.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CTR

from secagg.errors import ParameterError
from secagg.memory import fresh_vector
from secagg.secret import SecretBytes

SEED_BYTES = 32
_CIPHER_BLOCK = 16

Ring: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]

# Keystream memory of earlier calls; a few threads' worth, and its operations are atomic.
_KEPT: deque[npt.NDArray[np.uint8]] = deque(maxlen=4)

# Takes the first coordinate of a block, the block and as much memory to work in; returns what stands there before the masks, the
# block itself if it wrote there.
Fill: TypeAlias = Callable[[int, Ring, Ring], Ring]


@dataclass(frozen=True, slots=True)
class Mask:
    """One mask to add (sign +1) or to subtract (sign -1)."""

    seed: SecretBytes
    sign: int


@dataclass(frozen=True, slots=True)
class Speed:
    """How masks are expanded; no value changes a result.

    Attributes:
        threads: threads over the blocks of one vector, at most.
        block_bytes: bytes expanded and added at a time; a multiple of 16.
        thread_bytes: bytes of keystream that are worth one more thread: its start and the handing over of the interpreter
            lock cost a quarter more CPU time, and 40 MB take some five milliseconds without it.
    """

    threads: int = 2
    block_bytes: int = 1 << 20
    thread_bytes: int = 40 << 20

    def __post_init__(self) -> None:
        if min(self.threads, self.block_bytes, self.thread_bytes) < 1 or self.block_bytes % _CIPHER_BLOCK:
            raise ParameterError(
                "threads and thread_bytes must be positive and block_bytes a positive multiple of 16"
            )

    def threads_for(self, vector_bytes: int, masks: int) -> int:
        """Threads that so many masks of a vector of this length are spread over."""
        blocks, worth = -(-vector_bytes // self.block_bytes), vector_bytes * masks // self.thread_bytes
        return max(1, min(self.threads, blocks, worth))


DEFAULT_SPEED = Speed()


def add_masks(
    vector: Ring, masks: Sequence[Mask], speed: Speed = DEFAULT_SPEED, fill: Fill | None = None
) -> None:
    """Add the masks to the vector in place, modulo 2**bits.

    Args:
        vector: (wire_dim,), contiguous, little-endian uint32 or uint64.
        masks: seeds and signs.
        speed: threads and block size.
        fill: gives each block's own values just before its masks, so that they are read and added to in one pass; called from
            every thread, for blocks in any order. Without it the vector's values stand.
    """
    if (
        vector.dtype not in (np.dtype("<u4"), np.dtype("<u8"))
        or vector.ndim != 1
        or not vector.flags.c_contiguous
    ):
        raise ParameterError("masks are added to a contiguous vector of little-endian uint32 or uint64")
    blocks = -(-vector.nbytes // speed.block_bytes)
    spans = speed.threads_for(vector.nbytes, len(masks))
    edges = [blocks * i // spans for i in range(spans + 1)]

    def add_span(number: int) -> None:
        with _keystream_memory(speed.block_bytes) as keystream:
            _add_span(
                vector, range(edges[number], edges[number + 1]), masks, speed.block_bytes, keystream, fill
            )

    if spans == 1:
        add_span(0)
        return
    with ThreadPoolExecutor(spans - 1) as pool:
        others = [pool.submit(add_span, number) for number in range(1, spans)]
        add_span(0)
        for other in others:
            other.result()


@lru_cache(maxsize=1)
def _zeros(size: int) -> memoryview:
    """What is encrypted to get the bare keystream."""
    return memoryview(bytes(size))


@contextmanager
def _keystream_memory(size: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Memory for one thread's keystream, kept afterwards; each use begins by writing over it."""
    wanted = size + _CIPHER_BLOCK
    try:
        memory = _KEPT.pop()
    except IndexError:
        memory = fresh_vector(wanted, np.dtype(np.uint8))
    if memory.size < wanted:
        memory = fresh_vector(wanted, np.dtype(np.uint8))
    try:
        yield memory
    finally:
        _KEPT.append(memory)


def _add_span(
    vector: Ring,
    blocks: range,
    masks: Sequence[Mask],
    block_bytes: int,
    keystream: npt.NDArray[np.uint8],
    fill: Fill | None,
) -> None:
    """Add the masks to these blocks, looping over the masks inside each block."""
    zeros = _zeros(block_bytes)
    streams = [
        (_stream(mask.seed, blocks.start * block_bytes).update_into, np.add if mask.sign > 0 else np.subtract)
        for mask in masks
    ]
    elements, stream_bytes = block_bytes // vector.itemsize, keystream.data
    for block in blocks:
        part = vector[block * elements : (block + 1) * elements]
        plain, mask = zeros[: part.nbytes], keystream[: part.nbytes].view(vector.dtype)
        before = part if fill is None else fill(block * elements, part, mask)
        for expand_into, combine in streams:
            expand_into(plain, stream_bytes)
            before = combine(before, mask, part)
        if before is not part:
            part[:] = before


def _stream(seed: SecretBytes, offset: int) -> Any:
    """An encryptor of the seed's keystream from this byte on; the offset is a multiple of 16."""
    key, counter = seed.reveal()[:16], int.from_bytes(seed.reveal()[16:], "big")
    position = (counter + offset // _CIPHER_BLOCK) % (1 << 128)
    return Cipher(AES128(key), CTR(position.to_bytes(16, "big"))).encryptor()
