"""`python -m tests.bench.secagg --json`: what masking and unmasking cost, beside the bare keystream and Flower's SecAgg+.

CPU time of the process, all threads together, medians; keystream and Flower are measured in the same run. Conditions:

- The mask step copies the vector, expands and adds all masks. The upload is everything that the hospital does from its real
  vector on: fixed point, dealing and sealing of shares, masks, hash. The keystream is AES-128 in counter mode over as many
  bytes as the masks have, one vector for the hospital itself and one for each peer.
- The unmask step is that of the coordinator with 10 % dropped: seeds from shares, sum of the vectors, removal of all masks. The
  round behind it runs with one coordinate, since nothing of its state depends on their number.
- Flower's mask figure is its client's step from the real vector on, to be compared with the upload; its unmask figure its
  workflow's, with reconstruction and key agreement timed once and multiplied. A case that would take minutes is null.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter, process_time

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CTR

from secagg import coordinator as co
from secagg import dealing
from secagg import hospital as ho
from secagg.fixed_point import FixedPoint
from secagg.masks import DEFAULT_SPEED
from secagg.params import SecAggParams, default_threshold
from secagg.unmask import remove_masks
from secagg.wire import codec
from tests.bench.flower_secagg import CLIP, flower_client, flower_unmask_cpu_s
from tests.unit.secagg.rounds import Consortium, entropy

# Flower expands some 10^8 coordinates a second: beyond this it is left out.
FLOWER_MOST = 4_000_000_000
LONG_S = 4.0
FORMAT = FixedPoint(20, CLIP, 32)


@dataclass(frozen=True, slots=True)
class Line:
    """One case; times in seconds of CPU.

    Attributes:
        upload_cpu_s: the mask step with all that is around it.
        unmask_expansions: masks that the coordinator expands; the mask step expands peers + 1.
        mask_wall_s: time on the clock of the mask step, for its use of two cores.
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
    mask_wall_s: float


def cpu_s(work: Callable[[], object], repeats: int) -> float:
    """Median CPU time; once is enough for what takes long."""
    times: list[float] = []
    while len(times) < repeats and (not times or times[0] < LONG_S):
        start = process_time()
        work()
        times.append(process_time() - start)
    return median(times)


def keystream(coordinates: int, expansions: int) -> None:
    """AES-128 in counter mode over 4-byte coordinates, in the blocks that masks are expanded in."""
    size = 4 * coordinates
    zeros, out = bytes(DEFAULT_SPEED.block_bytes), bytearray(DEFAULT_SPEED.block_bytes + 16)
    for number in range(expansions):
        stream = Cipher(AES128(number.to_bytes(16, "big")), CTR(bytes(16))).encryptor()
        for start in range(0, size, len(zeros)):
            stream.update_into(memoryview(zeros)[: min(len(zeros), size - start)], out)


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


def unmask(opening: co.Opening, vector: np.ndarray) -> None:
    """The sum of the members' vectors, unmasked; every member has the same masked vector."""
    total = np.zeros_like(vector)
    for _ in opening.members:
        np.add(total, vector, out=total)
    remove_masks(opening, total)


def measure(peers: int, coordinates: int, repeats: int) -> Line:
    """One case of the table."""
    hospitals = peers + 1
    dropped = round(hospitals / 10)
    members = hospitals - dropped
    expansions = members * (1 + dropped)
    state, params = ordered(hospitals, coordinates)
    values = np.linspace(-CLIP, CLIP, coordinates)
    vector = FORMAT.encode(values)
    walls: list[float] = []

    def mask() -> None:
        start = perf_counter()
        dealing.masked_vector(state, vector, entropy("seed"), DEFAULT_SPEED)
        walls.append(perf_counter() - start)

    def upload() -> ho.UploadMessages:
        return ho.upload(state, FORMAT.encode(values), entropy("bench"))[1]

    keystream_cpu_s = cpu_s(lambda: keystream(coordinates + 1, hospitals), repeats)
    mask_cpu_s = cpu_s(mask, repeats)
    upload_cpu_s = cpu_s(upload, repeats)
    sent = upload()
    chunks = sum(len(chunk) for chunk in codec.vector_chunks(1, sent.vector))
    masked = np.frombuffer(sent.vector, dtype=params.ring)
    opening = opened(hospitals, dropped)
    unmask_cpu_s = cpu_s(lambda: unmask(opening, masked), repeats)
    flower = flower_client(peers, params.threshold)
    small = coordinates * expansions <= FLOWER_MOST
    return Line(
        peers,
        coordinates,
        mask_cpu_s,
        keystream_cpu_s,
        unmask_cpu_s,
        cpu_s(lambda: flower.mask(values), repeats),
        flower_unmask_cpu_s(coordinates, members, dropped, params.threshold) if small else None,
        len(sent.header) + len(sent.seals) + chunks,
        upload_cpu_s,
        expansions,
        median(walls),
    )


def summary(line: Line) -> str:
    """One line for people."""
    unmask_keystream = line.keystream_cpu_s / (line.peers + 1) * line.unmask_expansions
    text = (
        f"{line.peers} peers, {line.coordinates} coordinates: "
        f"mask {line.mask_cpu_s:.3f} s CPU = {line.mask_cpu_s / line.keystream_cpu_s:.2f} x keystream "
        f"({line.mask_cpu_s / line.mask_wall_s:.2f} cores), "
        f"upload {line.upload_cpu_s:.3f} s, "
        f"unmask {line.unmask_cpu_s:.3f} s = {line.unmask_cpu_s / unmask_keystream:.2f} x keystream; Flower"
    )
    if line.flower_mask_cpu_s is not None:
        text += f" mask {line.flower_mask_cpu_s / line.upload_cpu_s:.1f} x the upload"
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
    asked = parser.parse_args(arguments)
    for coordinates in asked.coordinates:
        for peers in asked.peers:
            line = measure(peers, coordinates, asked.repeats)
            if asked.json:
                print(json.dumps(asdict(line)), flush=True)
            print(summary(line), file=sys.stderr, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
