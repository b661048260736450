"""Coverage-guided fuzzing of everything that reads bytes from outside: `python -m tests.fuzz.decoders --seconds 600`.

It needs atheris (`pip install atheris`), which is no dependency of the project. Any bytes must give a record, whose one form
they are, or a typed refusal; and reading them must not take memory beyond a fixed multiple of their length. The first byte
picks the reader. The corpus in the tree is small: one message of each kind of a round (`--make-corpus`).
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from secagg import hospital as ho
from secagg.errors import SecAggError
from secagg.roster import parse_roster, parse_signed_roster
from secagg.state_codec import decode_state, encode_state
from secagg.vector_rounds import CASES, Run, draw, key_of
from secagg.wire import codec, records, stored, wardround_pb2

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT = 1 << 16
# Measured: at most 7 bytes for one, beyond what an empty message takes. The parser's own memory is not Python's; libFuzzer bounds it.
BYTES_PER_BYTE, BYTES_AT_LEAST = 32, 1 << 18

RECORDS: tuple[Any, ...] = tuple(
    record
    for module in (records, stored)
    for record in vars(module).values()
    if isinstance(record, type)
    and record.__module__ == module.__name__
    and hasattr(wardround_pb2, record.__name__)
)
Reader = Callable[[bytes], object]


def strict(record: Any) -> Reader:
    """A reader of one record that checks that it has one form."""

    def read(data: bytes) -> None:
        assert codec.encode(codec.decode(record, data)) == data

    return read


def machines() -> list[Reader]:
    """Every arrow of a hospital, in a state in which it takes messages."""
    run = Run(CASES[1].params)
    advertised, _ = ho.advertise(
        key_of("h0"), run.params, run.roster, run.session.desk.context, "h0", draw("session key", "h0")
    )
    ready = run.states["h0"]
    return [
        lambda data: ho.accept_key_list(advertised, data),
        lambda data: ho.accept_order(ready, data),  # type: ignore[arg-type]
        lambda data: ho.accept_receipt(ready, data),  # type: ignore[arg-type]
    ]


def readers() -> list[Reader]:
    """All of them, in an order that a corpus can rely on."""
    return [
        codec.unwrap,
        parse_roster,
        parse_signed_roster,
        lambda data: decode_state(data, key_of("h0")),
        *machines(),
        *(strict(record) for record in RECORDS),
    ]


def read_one(chosen: Reader, data: bytes) -> None:
    """Read bytes within the memory bound; a refusal is fine, any other exception is not.

    Raises:
        AssertionError: two forms of one message, or too much memory.
    """
    tracemalloc.start()
    try:
        read_unmeasured(chosen, data)
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak <= BYTES_AT_LEAST + BYTES_PER_BYTE * len(data), f"{peak} bytes of memory for {len(data)}"


def read_unmeasured(chosen: Reader, data: bytes) -> None:
    """`read_one` without its look at memory."""
    with suppress(SecAggError):
        chosen(data)


def seeds() -> dict[str, bytes]:
    """One input for each kind of message of a round, for its state and for the rosters."""
    run = Run(CASES[1].params)
    log = run.log
    ready, roster = run.states["h0"], run.roster.canonical
    messages = {"advert": log["adverts"]["h0"], "key_list": log["key_list"]}
    run.round(1, CASES[1].rounds[0])
    entry = log["rounds"][0]
    messages |= {kind: entry["uploads"]["h0"][kind] for kind in ("header", "seals")}
    messages |= {"order": entry["order"], "receipt": entry["receipt"]}
    for step, kind in (("agree", entry["agree"][0]), ("open", entry["open"])):
        messages |= {f"{step}_request": kind["requests"]["h0"], f"{step}_answer": kind["answers"]["h0"]}
    inputs = {name: b"\x00" + bytes.fromhex(data) for name, data in messages.items()}
    payloads = {"header": records.Signed, "seals": records.Seals, "agree_request": records.AgreeRequest}
    first = len(readers()) - len(RECORDS)
    for name, record in payloads.items():
        _, payload = codec.unwrap(bytes.fromhex(messages[name]))
        inputs[f"{name}_payload"] = bytes([first + RECORDS.index(record)]) + payload
    inputs |= {"roster": b"\x01" + roster, "state": b"\x03" + encode_state(ready)}
    inputs |= {
        "to_key_list": b"\x04" + bytes.fromhex(messages["key_list"]),
        "to_order": b"\x05" + bytes.fromhex(messages["order"]),
    }
    return inputs


def fuzz(seconds: int) -> None:
    """Fuzz from the corpus, which stays as it is."""
    atheris = importlib.import_module("atheris")

    atheris.instrument_all()
    every = readers()

    def one(data: bytes) -> None:
        # tracemalloc itself keeps some hundred bytes a run: it looks at every 64th.
        if data:
            (read_one if data[-1] % 64 == 0 else read_unmeasured)(every[data[0] % len(every)], data[1:])

    # libFuzzer writes what it finds to the first folder.
    with tempfile.TemporaryDirectory(prefix="corpus-") as found:
        options = [f"-max_total_time={seconds}", f"-max_len={MAX_INPUT}", "-rss_limit_mb=2048"]
        atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={CORPUS.parent}/", found, str(CORPUS)], one)
        atheris.Fuzz()


def main(arguments: Sequence[str]) -> None:
    """Fuzz, or write the corpus."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.decoders", description=__doc__)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--make-corpus", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.make_corpus:
        for data in seeds().values():
            (CORPUS / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        return
    fuzz(asked.seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
