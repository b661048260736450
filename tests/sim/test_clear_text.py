"""What travels in a whole study, message by message and field by field, against the list of SPEC.md, section 4.1."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest

from privacy.studies import exchange
from secagg.state_codec import encode_state
from secagg.wire import codec, records
from tests.consortium import HOSPITALS, World

SPEC = (Path(__file__).parents[2] / "secagg" / "SPEC.md").read_text()
ONE_ROUND = (("rounds = 2", "rounds = 1"),)
STATISTICS = (
    ('mode = "local"', 'mode = "distributed"'),
    ("\nrounds = 2\nlocal_steps = 2\nsample_rate = 1.0", "\nrounds = 1"),
)
# What the bytes of a field hold, by the kind of message.
BODIES: dict[tuple[str, str], type] = {
    ("advert", "body"): records.Advert,
    ("key_list", "adverts.body"): records.Advert,
    ("round_order", "body"): records.RoundOrder,
    ("upload_header", "body"): records.UploadHeader,
    ("agree_request", "agreed_set"): records.AgreedSet,
    ("agree_request", "deposits.header.body"): records.UploadHeader,
    ("receipt", "signed.body"): records.ReceiptBody,
    ("receipt", "signed.body.agreed_set"): records.AgreedSet,
}
# A study over the complete graph, as the one here, sends none of them; `tests/unit/secagg/test_sparse.py` does.
OF_THE_SPARSE_GRAPH = {"graph_contribution", "graph_seed", "sign_request", "set_signature"}
Listed = dict[str, tuple[str, dict[str, str]]]


def listed() -> Listed:
    """Kind of message to (way, field to what it may hold), as the page has it."""
    section = SPEC.partition("### 4.1")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z_]+) \| (up|down|both) \| (.+) \|$", section, re.MULTILINE)
    return {
        kind: (way, dict(entry.split(": ") for entry in entries.split(", "))) for kind, way, entries in rows
    }


def paths(kind: str, record: Any, prefix: str = "") -> Iterator[str]:
    """Every field that a message of this kind can have."""
    for name, hint in get_type_hints(record, include_extras=True).items():
        path = prefix + name
        inner = BODIES.get((kind, path)) or (hint if is_dataclass(hint) else None)
        element = get_args(get_args(hint)[0])[:1] if get_args(hint) else ()
        if element and is_dataclass(element[0]):
            inner = element[0]
        if inner is None:
            yield path
        else:
            yield from paths(kind, inner, path + ".")


def values(kind: str, value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """(field, value) of one message, the bodies inside it read too."""
    if body := BODIES.get((kind, path)):
        value = codec.decode(body, value)
    if is_dataclass(value):
        for entry in fields(value):
            inner = f"{path}.{entry.name}" if path else entry.name
            yield from values(kind, getattr(value, entry.name), inner)
    elif isinstance(value, tuple):
        for entry in value:
            yield from values(kind, entry, path)
    else:
        yield path, value


@dataclass
class Observer:
    """Who reads everything on the way and knows what a field may hold."""

    world: World
    listed: Listed

    def complaints(self, way: str, message: bytes) -> list[str]:
        """What this message holds that the page does not name."""
        kind, payload = codec.unwrap(message)
        direction, known = self.listed.get(kind, ("", {}))
        if direction not in (way, "both"):
            return [f"a {kind} goes {way}"]
        return [
            f"{kind}.{path} is {value!r:.60}"
            for path, value in values(kind, codec.decode(codec.KINDS[kind], payload))
            if path not in known or not self.fits(known[path], value, way)
        ]

    def fits(self, what: str, value: Any, way: str) -> bool:
        """Whether a value is of its kind."""
        agreement = self.world.agreement
        last = exchange.total_rounds(agreement)
        orders = [exchange.order_settings(agreement, number) for number in range(1, last + 1)]
        tasks = [exchange.task_of(agreement, number) for number in range(1, last + 1)]
        ring = (agreement.dim + 1) * agreement.modulus_bits // 8
        tests: dict[str, Callable[[Any], bool]] = {
            "version": lambda v: v == 1,
            "id": lambda v: v in (*HOSPITALS, ""),
            "round": lambda v: v <= last,
            "place": lambda v: v % records.MAX_CHUNK_BYTES == 0 and v < ring,
            "hash": lambda v: len(v) in (0, 32),
            "session": lambda v: len(v) in (0, 16),
            "contribution": lambda v: len(v) == 32,
            "key": lambda v: len(v) == 32,
            "signature": lambda v: len(v) == 64,
            "nonce": lambda v: len(v) in (0, 12),
            "sealed": lambda v: len(v) in (0, 80),
            "masked": lambda v: len(v) == ring,
            "seed": lambda v: len(v) == 32,
            "share": lambda v: len(v) == 32,
            "opening": lambda v: len(v) == 32,
            # As many numbers as the round's statistic has, whatever the data.
            "noise": lambda v: len(v) in [8 * task.length for task in agreement.tasks],
            "document": lambda v: v in (agreement.to_bytes(), self.world.signed.roster.canonical),
            "order": lambda v: v in (*orders, *tasks) or len(v) in (0, 8 * agreement.parameters),
            "step": lambda v: v in ("advertise", "upload", "agree", "open"),
            "sum": lambda v: len(v) == ring - agreement.modulus_bits // 8,
            "flag": lambda v: isinstance(v, bool),
            "code": lambda v: v in (0, 1),
            "text": lambda v: v == "" if way == "up" else v in ("", "done"),
            "ledger": lambda v: v.startswith(b"{"),
        }
        return tests[what](value)


@pytest.fixture(scope="module", params=[ONE_ROUND, STATISTICS], ids=["local", "distributed"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A finished study, with every message that travelled."""
    made = World.of(tmp_path_factory.mktemp("study"), *request.param)
    _, executed = made.execute()
    assert executed.failed is None
    return made


def test_the_page_names_every_field_of_every_message() -> None:
    """A field more in the schema is a field more to explain."""
    page = listed()
    assert page.keys() == codec.KINDS.keys()
    for kind, record in codec.KINDS.items():
        assert list(paths(kind, record)) == list(page[kind][1]), kind


@pytest.mark.threat("FL-32", control="C-METRICS")
def test_nothing_travels_in_clear_but_what_the_protocol_names(world: World) -> None:
    observer = Observer(world, listed())
    seen = set()
    for way, messages in (("down", world.link.sent), ("up", world.link.answered)):
        for hospital, kind, message in messages:
            assert observer.complaints(way, message) == [], hospital
            seen.add(kind)
    spare = set() if observer.world.agreement.study.spare_layers else {"spare_noise"}
    assert seen == codec.KINDS.keys() - {"hello", "abort"} - OF_THE_SPARSE_GRAPH - spare


@pytest.mark.threat("FL-32", control="C-METRICS")
@pytest.mark.parametrize(
    "beside",
    [
        codec.pack("study_answer", records.StudyAnswer(bytes(32), True, "312 patients", 0)),
        codec.pack("hello", records.Hello(1, "a", b"", b"", 312)),
        codec.pack("abort", records.Abort(1, "the loss is 0.37", "")),
        codec.pack("vector_chunk", records.VectorChunk(1, 312, bytes(8))),
        codec.pack("receipt", records.Receipt(records.Signed(b"", bytes(64)), b"")),
    ],
    ids=["in a reason", "in a round", "in an abort", "in an offset", "a receipt that goes up"],
)
def test_a_number_beside_the_vector_is_noticed(world: World, beside: bytes) -> None:
    assert Observer(world, listed()).complaints("up", beside)


def test_an_upload_s_length_says_nothing_of_the_data(tmp_path: Path, world: World) -> None:
    """Three times as many patients make messages of the same kinds and lengths."""
    changes = STATISTICS if world.agreement.study.spare_layers else ONE_ROUND
    larger = World.of(tmp_path, *changes, rows=120)
    larger.execute()

    def lengths(of: World) -> list[tuple[str, str, int]]:
        return [
            (who, kind, len(message)) for who, kind, message in of.link.answered if kind != "ledger_export"
        ]

    assert lengths(larger) == lengths(world)


@pytest.mark.threat("FL-11", control="C-FRESH")
def test_everything_that_was_ever_sent_again_to_a_node_changes_nothing(world: World) -> None:
    """Each request of the study, to each hospital, and each answer reflected to its sender and to another hospital."""
    known = {message for _, _, message in world.link.answered}
    node = world.nodes["a"]
    before = (node.state, node.ledger.entries())
    assert node.state is not None
    stored = encode_state(node.state)
    for _, kind, message in [*world.link.sent, *world.link.answered]:
        if kind in ("study_end", "ledger_export_request"):
            continue
        for reply in node.on_message(message):
            said = codec.unwrap(reply)[0]
            assert said in ("abort", "study_answer") or reply in known, (kind, said)
        assert (node.state, node.ledger.entries()) == before, kind
        assert encode_state(node.state) == stored
