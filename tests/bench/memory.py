"""`python -m tests.bench.memory --json`: the coordinator's memory at 10^7 coordinates, for 10 and for 30 hospitals.

Two processes: one is all the hospitals, the other the coordinator, whose peak is measured. What travels between them are the
messages of the wire, vectors in chunks of 1 MiB. The coordinator is the real one: its machine, its spool on disk and the sum block by
block of `coordinator.rounds`. A tenth of the hospitals never uploads. Every hospital's vector is drawn from a seed, so that the
other process can say what the sum must be. The spool lies in --directory, which must be on a disk: memory file systems count.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from coordinator.rounds import sum_spooled
from coordinator.spool import Spool
from secagg import coordinator as co
from secagg import hospital as ho
from secagg.context import Context
from secagg.masks import Ring, Speed
from secagg.params import PROTOCOL_VERSION, SecAggParams, default_threshold
from secagg.wire import codec
from secagg.wire.records import VectorChunk
from tests.unit.secagg.rounds import STUDY, entropy, key_of, make_roster, names

CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Line:
    """One case.

    Attributes:
        peak_rss_mib: of the coordinator's process.
        before_mib: the same before the first upload.
        vector_mib: one vector.
        spooled_mib: all vectors, of which the first 64 MiB' worth are in memory and the others on disk.
    """

    hospitals: int
    coordinates: int
    peak_rss_mib: float
    before_mib: float
    vector_mib: float
    spooled_mib: float
    seconds: float
    exact: bool


def peak_mib() -> float:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def vector_of(place: int, params: SecAggParams) -> Ring:
    """A hospital's vector, full range."""
    return np.random.default_rng(place).integers(0, 1 << 32, params.dim, dtype=params.ring)


def parameters(hospitals: int, coordinates: int) -> tuple[SecAggParams, Context]:
    params = SecAggParams(hospitals, 1, default_threshold(hospitals, 1), 32, coordinates)
    roster = make_roster(names(hospitals))
    return params, Context(PROTOCOL_VERSION, STUDY, roster.hash, entropy("session")[:16])


def hospitals_process(link: Connection, hospitals: int, coordinates: int) -> None:
    """All hospitals: answers each message, in order; the first of a message's bytes says whom it is for."""
    params, context = parameters(hospitals, coordinates)
    roster = make_roster(names(hospitals))
    states: dict[str, Any] = {}
    for who in roster.ids:
        states[who], advert = ho.advertise(key_of(who), params, roster, context, who, entropy("key", who))
        link.send_bytes(advert)
    while message := link.recv_bytes():
        place = message[0]
        who, data = roster.ids[place], message[1:]
        kind, _ = codec.unwrap(data)
        match kind:
            case "key_list":
                states[who] = ho.accept_key_list(states[who], data)
            case "round_order":
                ordered, _ = ho.accept_order(states[who], data)
                vector = vector_of(place, params)
                states[who], sent = ho.upload(ordered, vector, entropy("upload", who), Speed(threads=1))
                for part in (sent.header, sent.seals, *codec.vector_chunks(1, sent.vector, CHUNK_BYTES)):
                    link.send_bytes(part)
            case "agree_request":
                states[who], answer = ho.agree(states[who], data)
                link.send_bytes(answer)
            case "open_request":
                states[who], answer = ho.open_shares(states[who], data)
                link.send_bytes(answer)
            case "receipt":
                members = ho.accept_receipt(states[who], data)[1].members
                total = np.zeros(params.dim, dtype=params.ring)
                for member in members:
                    total += vector_of(roster.ids.index(member), params)
                receipt = codec.unpack("receipt", codec.KINDS["receipt"], data)
                link.send_bytes(b"exact" if receipt.sum == total.tobytes() else b"wrong")


def coordinator_process(directory: Path, hospitals: int, coordinates: int) -> Line:
    """One round; the hospitals run in a process of their own, started afresh."""
    start = perf_counter()
    params, context = parameters(hospitals, coordinates)
    roster = make_roster(names(hospitals))
    spawn = multiprocessing.get_context("spawn")
    link, far = spawn.Pipe()
    other = spawn.Process(target=hospitals_process, args=(far, hospitals, coordinates), daemon=True)
    other.start()
    far.close()

    def tell(who: str, message: bytes) -> None:
        link.send_bytes(bytes([roster.ids.index(who)]) + message)

    collecting = co.collect_adverts(key_of("coordinator"), params, roster, context)
    for who in roster.ids:
        collecting = co.add_advert(collecting, who, link.recv_bytes())
    session, key_list = co.close_adverts(collecting)
    uploading, order = co.start_round(session, 1, "train", b"m", b"s")
    before = peak_mib()
    spool = Spool(directory / "spool", params.vector_bytes)
    present = roster.ids[hospitals // 10 :]
    for who in roster.ids:
        tell(who, key_list)
    for who in present:
        tell(who, order)
        header, seals = link.recv_bytes(), link.recv_bytes()
        while not spool.complete(who):
            chunk = codec.unpack("vector_chunk", VectorChunk, link.recv_bytes())
            spool.add(who, chunk.offset, chunk.data)
        uploading = co.add_upload(uploading, who, header, seals, spool.sha256(who))
    agreeing, requests = co.propose(uploading)
    for who, request in requests.items():
        tell(who, request)
        agreeing = co.add_agreement(agreeing, who, link.recv_bytes())
    opening, asked = co.request_open(agreeing)
    for who, request in asked.items():
        tell(who, request)
        opening = co.add_shares(opening, who, link.recv_bytes())
    total = sum_spooled(opening, spool)
    spool.clear()
    peak = peak_mib()
    tell(present[0], co.make_receipt(opening, total))
    exact = link.recv_bytes() == b"exact"
    link.send_bytes(b"")
    other.join()
    size = params.vector_bytes / (1 << 20)
    took = perf_counter() - start
    return Line(hospitals, coordinates, peak, before, size, size * len(present), took, exact)


def measure(directory: Path, hospitals: int, coordinates: int) -> Line:
    """One case in a fresh coordinator process: a peak is never taken back."""
    spawn = multiprocessing.get_context("spawn")
    link, far = spawn.Pipe()
    child = spawn.Process(target=_run, args=(far, str(directory), hospitals, coordinates))
    child.start()
    line = Line(**json.loads(link.recv_bytes()))
    child.join()
    return line


def _run(link: Connection, directory: str, hospitals: int, coordinates: int) -> None:
    line = coordinator_process(Path(directory), hospitals, coordinates)
    link.send_bytes(json.dumps(asdict(line)).encode())


def main(arguments: Sequence[str]) -> int:
    """Print every case; 1 if a sum is not exact."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory", description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON lines on standard output")
    parser.add_argument("--hospitals", type=int, nargs="+", default=[10, 30])
    parser.add_argument("--coordinates", type=int, default=10_000_000)
    parser.add_argument("--directory", default=".", help="where the spool goes; on a disk")
    asked = parser.parse_args(arguments)
    lines = []
    for hospitals in asked.hospitals:
        with tempfile.TemporaryDirectory(prefix="spool-", dir=asked.directory) as directory:
            line = measure(Path(directory), hospitals, asked.coordinates)
        lines.append(line)
        if asked.json:
            print(json.dumps(asdict(line)), flush=True)
        print(
            f"{hospitals} hospitals, {line.coordinates} coordinates: coordinator's peak {line.peak_rss_mib:.0f} MiB "
            f"({line.before_mib:.0f} before the uploads; one vector {line.vector_mib:.0f}, spooled {line.spooled_mib:.0f}), "
            f"{line.seconds:.0f} s, sum {'exact' if line.exact else 'WRONG'}",
            file=sys.stderr,
            flush=True,
        )
    return 0 if all(line.exact for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
