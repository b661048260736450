"""`python -m tests.bench.secagg --json`: what masking and unmasking cost, beside the bare keystream and Flower's SecAgg+.

CPU time of the process, all threads together, medians; what is compared takes turns in one run. Conditions:

- The keystream is AES-128 in counter mode over as many bytes as the masks have: one vector for the hospital itself, one for each
  peer, 4 bytes a coordinate. It is written into one buffer of a block's size over and over, so that it pays for no new memory.
  Twice: on one thread (`keystream_cpu_s`, what the aim is about), and on as many threads as the step has, each over its part of
  every vector (`..._threads_cpu_s`): what two cores cost each other is in that one.
- The mask step expands and adds all masks to the vector, with at most the default two threads (one while the keystream is
  below 80 MB), into the memory of the round before; `mask_first_cpu_s` is that of a first round, which needs new memory. Wall
  times of one and of at most two threads are beside it. The upload is everything that the hospital does from its real vector
  on: fixed point, dealing and sealing of shares, masks, hash, signature.
- The unmask step is that of the coordinator with 10 % dropped: seeds from shares, sum of the vectors, removal of all masks.
  `unmask_cpu_s`: every member has the same vector in memory. `unmask_spooled_cpu_s`: each has its own file under --directory,
  as in a real round. The round behind it ran with one coordinate, since nothing else of its state depends on their number;
  the check coordinate, which is looked at last, is off.
- Flower's mask figure is its client's step from the real vector on, to be compared with the upload; its unmask figure its
  workflow's, with reconstruction and key agreement timed once and multiplied. A case that would take minutes is null.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CTR

from coordinator.rounds import sum_spooled
from coordinator.spool import Spool
from secagg import coordinator as co
from secagg import dealing
from secagg import hospital as ho
from secagg.errors import CheckFailed
from secagg.fixed_point import FixedPoint
from secagg.masks import DEFAULT_SPEED, Ring, Speed
from secagg.memory import lent_vector
from secagg.params import SecAggParams, default_threshold
from secagg.unmask import unmask_blocks
from secagg.wire import codec
from tests.bench.flower_secagg import CLIP, flower_client, flower_unmask_cpu_s
from tests.unit.secagg.rounds import Consortium, entropy

# Flower expands some 10^8 coordinates a second: beyond this it is left out.
FLOWER_MOST = 4_000_000_000
# All vectors on disk; beyond this the unmask step with files is left out.
SPOOL_MOST_BYTES = 2_000_000_000
LONG_S = 4.0
FORMAT = FixedPoint(20, CLIP, 32)


@dataclass(frozen=True, slots=True)
class Line:
    """One case; times in seconds of CPU, except where they are called wall.

    Attributes:
        upload_cpu_s: the mask step with all that is around it.
        unmask_expansions: masks that the coordinator expands; the mask step expands peers + 1.
        mask_wall_1_s, mask_wall_2_s: time on the clock of the mask step with one and with two threads.
        keystream_threads_cpu_s, unmask_keystream_threads_cpu_s: keystream of peers + 1 masks on as many threads as the mask step
            has (`mask_threads`) and the unmask step has (`unmask_threads`).
        mask_first_cpu_s: the mask step into new memory.
        unmask_spooled_cpu_s: the unmask step with the vectors in files, null if they are too large.
    """

    peers: int
    coordinates: int
    mask_cpu_s: float
    keystream_cpu_s: float
    unmask_cpu_s: float
    flower_mask_cpu_s: float | None
    flower_unmask_cpu_s: float | None
    bytes_up: int
    upload_cpu_s: float
    unmask_expansions: int
    mask_wall_1_s: float
    mask_wall_2_s: float
    keystream_threads_cpu_s: float
    mask_threads: int
    unmask_keystream_threads_cpu_s: float
    unmask_threads: int
    mask_first_cpu_s: float
    unmask_spooled_cpu_s: float | None


@dataclass(frozen=True, slots=True)
class Times:
    """Medians of one piece of work, seconds."""

    cpu_s: float
    wall_s: float


def take_turns(repeats: int, *works: Callable[[], object]) -> list[Times]:
    """Runs the works in turn, so that what else the machine does hits all alike; once is enough for what takes long."""
    taken: list[list[tuple[float, float]]] = [[] for _ in works]
    start = perf_counter()
    for turn in range(repeats):
        for times, work in zip(taken, works, strict=True):
            cpu, wall = process_time(), perf_counter()
            work()
            times.append((process_time() - cpu, perf_counter() - wall))
        if turn > 1 and perf_counter() - start > LONG_S * len(works):
            break
    return [Times(median(cpu for cpu, _ in times), median(wall for _, wall in times)) for times in taken]


def keystream(coordinates: int, expansions: int, threads: int = 1) -> None:
    """AES-128 in counter mode over 4-byte coordinates, in the blocks that masks are expanded in; each thread has its part of all."""
    size = 4 * coordinates // threads

    def part() -> None:
        zeros, out = bytes(DEFAULT_SPEED.block_bytes), bytearray(DEFAULT_SPEED.block_bytes + 16)
        for number in range(expansions):
            stream = Cipher(AES128(number.to_bytes(16, "big")), CTR(bytes(16))).encryptor()
            for start in range(0, size, len(zeros)):
                stream.update_into(memoryview(zeros)[: min(len(zeros), size - start)], out)

    if threads == 1:
        part()
        return
    with ThreadPoolExecutor(threads - 1) as pool:
        others = [pool.submit(part) for _ in range(threads - 1)]
        part()
        for other in others:
            other.result()


@contextmanager
def spooled(opening: co.Opening, vector: Ring, directory: Path) -> Iterator[Spool]:
    """A spool in which each member has the vector as its own."""
    spool = Spool(directory / "spool", vector.nbytes)
    try:
        for member in opening.members:
            for start in range(0, vector.nbytes, DEFAULT_SPEED.block_bytes):
                spool.add(member, start, vector.data.cast("B")[start : start + DEFAULT_SPEED.block_bytes])
        yield spool
    finally:
        spool.clear()


def ordered(hospitals: int, coordinates: int) -> tuple[ho.Ordered, SecAggParams]:
    """A hospital that has its order, in a session of so many."""
    params = SecAggParams(hospitals, 1, default_threshold(hospitals, 1), 32, coordinates)
    consortium = Consortium(params)
    consortium.order(1, consortium.hospitals)
    state = consortium.hospitals["h000"]
    assert isinstance(state, ho.Ordered)
    return state, params


def opened(hospitals: int, dropped: int) -> co.Opening:
    """The coordinator's state when a round of these has opened."""
    consortium = Consortium(SecAggParams(hospitals, 1, default_threshold(hospitals, 1), 32, 1))
    names = list(consortium.hospitals)
    return consortium.run(1, no_upload=names[hospitals - dropped :])[0]


def opened_for(opening: co.Opening, coordinates: int) -> co.Opening:
    """The same state as if the round had so many coordinates; nothing else of it depends on their number."""
    agreeing, uploading = opening.agreeing, opening.agreeing.uploading
    desk = replace(uploading.session.desk, params=replace(uploading.session.desk.params, dim=coordinates))
    session = replace(uploading.session, desk=desk)
    return replace(opening, agreeing=replace(agreeing, uploading=replace(uploading, session=session)))


def measure(peers: int, coordinates: int, repeats: int, directory: Path) -> Line:
    """One case of the table."""
    hospitals = peers + 1
    dropped = round(hospitals / 10)
    members = hospitals - dropped
    expansions = members * (1 + dropped)
    state, params = ordered(hospitals, coordinates)
    values = np.linspace(-CLIP, CLIP, coordinates)
    vector = FORMAT.encode(values)
    opening = opened_for(opened(hospitals, dropped), coordinates)

    def mask(threads: int) -> memoryview:
        return dealing.masked_vector(state, vector, entropy("seed"), Speed(threads))

    def mask_first() -> tuple[Ring, memoryview]:
        taken = lent_vector(
            params.wire_dim, params.ring
        )  # Whoever holds the memory of the round before keeps it.
        return taken, mask(2)

    def upload() -> ho.UploadMessages:
        return ho.upload(state, FORMAT.encode(values), entropy("bench"))[1]

    sent = upload()
    masked = np.frombuffer(sent.vector, dtype=params.ring)

    def read(_: str, first: int, due: Ring) -> Ring:
        return masked[first : first + due.size]

    def unmask() -> None:
        with suppress(CheckFailed):
            unmask_blocks(opening, read)

    mask_threads = DEFAULT_SPEED.threads_for(params.vector_bytes, hospitals)
    unmask_threads = DEFAULT_SPEED.threads_for(params.vector_bytes, expansions)
    stream, streams, unmask_streams, one, two, first, whole, removal = take_turns(
        repeats,
        lambda: keystream(coordinates + 1, hospitals),
        lambda: keystream(coordinates + 1, hospitals, mask_threads),
        lambda: keystream(coordinates + 1, hospitals, unmask_threads),
        lambda: mask(1),
        lambda: mask(2),
        mask_first,
        upload,
        unmask,
    )
    files = None
    if members * params.vector_bytes <= SPOOL_MOST_BYTES:
        with spooled(opening, masked, directory) as spool:

            def unmask_spooled() -> None:
                with suppress(CheckFailed):
                    sum_spooled(opening, spool)

            files = take_turns(repeats, unmask_spooled)[0].cpu_s
    chunks = sum(len(chunk) for chunk in codec.vector_chunks(1, sent.vector))
    flower = flower_client(peers, params.threshold)
    small = coordinates * expansions <= FLOWER_MOST
    return Line(
        peers,
        coordinates,
        two.cpu_s,
        stream.cpu_s,
        removal.cpu_s,
        take_turns(repeats, lambda: flower.mask(values))[0].cpu_s,
        flower_unmask_cpu_s(coordinates, members, dropped, params.threshold) if small else None,
        len(sent.header) + len(sent.seals) + chunks,
        whole.cpu_s,
        expansions,
        one.wall_s,
        two.wall_s,
        streams.cpu_s,
        mask_threads,
        unmask_streams.cpu_s,
        unmask_threads,
        first.cpu_s,
        files,
    )


def summary(line: Line) -> str:
    """One line for people."""
    masks = line.unmask_expansions / (line.peers + 1)
    one, many = line.keystream_cpu_s * masks, line.unmask_keystream_threads_cpu_s * masks
    text = (
        f"{line.peers} peers, {line.coordinates} coordinates: mask {line.mask_cpu_s:.3f} s CPU = "
        f"{line.mask_cpu_s / line.keystream_cpu_s:.2f} x keystream, {line.mask_cpu_s / line.keystream_threads_cpu_s:.2f} x that of "
        f"{line.mask_threads} threads ({line.mask_first_cpu_s / line.keystream_cpu_s:.2f} x in a first round; "
        f"two threads {line.mask_wall_1_s / line.mask_wall_2_s:.2f} x as fast as one), "
        f"upload {line.upload_cpu_s:.3f} s = {line.upload_cpu_s / line.keystream_cpu_s:.2f} x, "
        f"unmask {line.unmask_cpu_s:.3f} s = {line.unmask_cpu_s / one:.2f} x keystream, {line.unmask_cpu_s / many:.2f} x that of "
        f"{line.unmask_threads} threads"
    )
    if line.unmask_spooled_cpu_s is not None:
        text += (
            f" (from files {line.unmask_spooled_cpu_s / one:.2f} x, {line.unmask_spooled_cpu_s / many:.2f} x)"
        )
    text += "; Flower"
    if line.flower_mask_cpu_s is not None:
        text += f" mask {line.flower_mask_cpu_s / line.mask_cpu_s:.1f} x ({line.flower_mask_cpu_s / line.upload_cpu_s:.1f} x the upload)"
    if line.flower_unmask_cpu_s is not None:
        text += f", unmask {line.flower_unmask_cpu_s / line.unmask_cpu_s:.1f} x"
    beside = line.bytes_up / (4 * line.coordinates) - 1
    return f"{text}; {100 * beside:.3f} % beside 4 bytes a coordinate"


def main(arguments: Sequence[str]) -> int:
    """Print every case."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.secagg", description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines on standard output")
    parser.add_argument("--peers", type=int, nargs="+", default=[10, 30, 100])
    parser.add_argument("--coordinates", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--directory", default=".", help="where the vectors' files go; on a disk")
    asked = parser.parse_args(arguments)
    for coordinates in asked.coordinates:
        for peers in asked.peers:
            with tempfile.TemporaryDirectory(prefix="spool-", dir=asked.directory) as directory:
                line = measure(peers, coordinates, asked.repeats, Path(directory))
            if asked.json:
                print(json.dumps(asdict(line)), flush=True)
            print(summary(line), file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
