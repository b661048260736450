"""Coverage-guided fuzzing of everything that reads bytes from outside: `make fuzz`, or `python -m tests.fuzz --minutes 10`.

It needs atheris, the extra `fuzz`. Any bytes must give a record, whose one form they are, or a typed refusal; and reading
them must not take memory beyond a fixed multiple of their length. The first byte picks the reader. The corpus in the tree is
small: one message of each kind of a round (`--make-corpus`).
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib
import sys
import tempfile
import tracemalloc
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from secagg import coordinator as co
from secagg import hospital as ho
from secagg.errors import SecAggError
from secagg.receipt import audit_receipt
from secagg.roster import parse_roster, parse_signed_roster
from secagg.state_codec import decode_state, encode_state
from secagg.vector_rounds import CASES, Run, draw, key_of
from secagg.wire import codec, records, stored, wardround_pb2

CORPUS = Path(__file__).parent / "corpus"
MAX_INPUT = 1 << 16
# Measured: at most 7 bytes for one, beyond what an empty message takes. The parser's own memory is not Python's: test_memory measures it.
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


@functools.cache
def machines() -> dict[str, tuple[Reader, bytes]]:
    """Every arrow that takes bytes, in a state in which it takes them, with a message that it accepts."""
    run = Run(CASES[1].params)
    desk = run.session.desk
    ready: Any = run.states["h0"]
    advertised, _ = ho.advertise(
        key_of("h0"), run.params, run.roster, desk.context, "h0", draw("session key", "h0")
    )
    collecting = co.Collecting(desk, 1, {})
    empty, order = co.start_round(run.session, 1, "train", b"model", b"settings")
    uploading, uploaded, sent = empty, {}, {}
    state: Any
    for who, state in run.states.items():
        ordered, _ = ho.accept_order(state, order)
        vector = co.empty_sum(run.params)[: run.params.dim]
        uploaded[who], sent[who] = ho.upload(ordered, vector, draw("upload", who))
        uploading = co.add_upload(uploading, who, sent[who].header, sent[who].seals, sha256(sent[who].vector))
    proposed, asked = co.propose(uploading)
    answers = {who: ho.agree(uploaded[who], request) for who, request in asked.items()}
    agreed = proposed
    for who, (_, answer) in answers.items():
        agreed = co.add_agreement(agreed, who, answer)
    opening, to_open = co.request_open(agreed)
    opened = {who: ho.open_shares(answers[who][0], request)[1] for who, request in to_open.items()}
    full = opening
    for who, shares in opened.items():
        full = co.add_shares(full, who, shares)
    vectors = {who: np.frombuffer(sent[who].vector, dtype=run.params.ring) for who in sent}
    receipt = co.make_receipt(full, co.unmask(full, vectors))
    mine, digest = sent["h0"], sha256(sent["h0"].vector)
    return {
        "key_list": (lambda data: ho.accept_key_list(advertised, data), bytes.fromhex(run.log["key_list"])),
        "order": (lambda data: ho.accept_order(ready, data), order),
        "receipt": (lambda data: ho.accept_receipt(ready, data), receipt),
        "agree": (lambda data: ho.agree(uploaded["h0"], data), asked["h0"]),
        "agree_again": (lambda data: ho.agree(answers["h0"][0], data), asked["h0"]),
        "open": (lambda data: ho.open_shares(answers["h0"][0], data), to_open["h0"]),
        "advert": (
            lambda data: co.add_advert(collecting, "h0", data),
            bytes.fromhex(run.log["adverts"]["h0"]),
        ),
        "header": (lambda data: co.add_upload(empty, "h0", data, mine.seals, digest), mine.header),
        "seals": (lambda data: co.add_upload(empty, "h0", mine.header, data, digest), mine.seals),
        "agreement": (lambda data: co.add_agreement(proposed, "h0", data), answers["h0"][1]),
        "shares": (lambda data: co.add_shares(opening, "h0", data), opened["h0"]),
        "audit": (
            lambda data: audit_receipt(data, desk.context.study_hash, run.roster, run.params),
            receipt,
        ),
    }


def sha256(data: bytes) -> bytes:
    """As a header has it."""
    return hashlib.sha256(data).digest()


def readers() -> list[Reader]:
    """All of them, in an order that a corpus can rely on."""
    return [
        codec.unwrap,
        parse_roster,
        parse_signed_roster,
        lambda data: decode_state(data, key_of("h0")),
        *(reader for reader, _ in machines().values()),
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
    """One input for each arrow and each kind of message of a round, for a hospital's state and for the roster."""
    run = Run(CASES[1].params)
    messages = {name: message for name, (_, message) in machines().items()}
    inputs = {name: b"\x00" + message for name, message in messages.items()}
    inputs |= {f"to_{name}": bytes([4 + place]) + m for place, (name, m) in enumerate(messages.items())}
    payloads = {"header": records.Signed, "seals": records.Seals, "agree": records.AgreeRequest}
    first = len(readers()) - len(RECORDS)
    for name, record in payloads.items():
        _, payload = codec.unwrap(messages[name])
        inputs[f"{name}_payload"] = bytes([first + RECORDS.index(record)]) + payload
    state = encode_state(run.states["h0"])
    return inputs | {"roster": b"\x01" + run.roster.canonical, "state": b"\x03" + state}


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
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--make-corpus", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.make_corpus:
        for data in seeds().values():
            (CORPUS / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
        return
    fuzz(int(60 * asked.minutes))
