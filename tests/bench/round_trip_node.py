"""The processes of `round_trip`: the coordinator's command, a hospital's with a prepared answer in place of training, and one that only moves bytes."""

from __future__ import annotations

import struct
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node.flower_link import Tagged
from privacy.link.command_line import say_json

_ASKING = struct.Struct(">Q")
CHUNK_BYTES = 4 << 20


def asking(length: int, answer: int) -> bytes:
    """A message of so many bytes that wants an answer of so many."""
    return _ASKING.pack(answer) + bytes(max(0, length - _ASKING.size))


def answering(message: bytes) -> Iterator[bytes]:
    """The answer, in messages like a vector's chunks; the last one begins with 1."""
    (left,) = _ASKING.unpack_from(message)
    while left > CHUNK_BYTES:
        yield bytes(CHUNK_BYTES)
        left -= CHUNK_BYTES
    yield b"\x01" + bytes(left - 1)


class Prepared:
    """What stands in for a study's ClientApp: an answer of the right form, at no cost."""

    def __init__(self, study: object, node: int) -> None:
        """Takes what the real one takes."""

    def run(self, task: str, theta: NDArray[np.float64], training_round: int) -> Tagged:
        """A model next to the common one; an empty life table."""
        return Tagged(np.zeros(2) if task == "life_table" else theta + 2.0**-10, task)


def serve() -> None:
    """The hospital's own command line; every line says when it was printed."""
    from hospital_node import cli, local_study, participant

    participant.FlowerTraining = Prepared  # type: ignore[assignment]  # stands where the training is
    # The network that nobody trains would load torch.
    local_study.build_model = lambda _: None  # type: ignore[assignment, return-value]  # see above
    cli.say_json = _say_when
    cli.app()


def coordinate() -> None:
    """The coordinator's own command line; every line says when it was printed."""
    from coordinator import cli

    cli.say_json = _say_when
    cli.app()


def _say_when(line: Mapping[str, object]) -> None:
    say_json({**line, "wall_s": time.perf_counter(), "cpu_s": time.process_time()})


def move(keys: Path, port: str) -> None:
    """Answers whatever comes, until it is ended."""
    from hospital_node.enrolment import load_roster
    from hospital_node.keys import load
    from hospital_node.link import LinkClient

    own = load(keys)
    client = LinkClient(f"127.0.0.1:{port}", own, load_roster(keys))
    client.run(answering, lambda: iter(()), threading.Event())


if __name__ == "__main__":
    role = sys.argv.pop(1)
    match role:
        case "move":
            move(Path(sys.argv[1]), sys.argv[2])
        case "coordinate":
            coordinate()
        case _:
            serve()
