"""What pays for each number that leaves a hospital: the tags of all outgoing messages and of a ClientApp's reply.

A field is *paid*: it depends on patients and is covered by the event of its round in the ledger; or *public*: it was declared before
extraction, is drawn without looking at patients, or says only what paid numbers say. A field without a tag may not leave. The
hospital's edge (`hospital_node.sending_edge`) refuses at run time; a test walks all fields of all messages.

Sentences (`reason`) are public because of who writes them: protocol errors name rounds, hospitals and hashes, and refusals that rest on a
hospital's policy, budget or data are one sentence for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from functools import cache
from typing import Any, Literal, get_args, get_type_hints

from privacy.ledgers.ledger import Entry
from secagg.wire import records
from secagg.wire.records import Items

Tag = Literal["paid", "public"]
PAID: Tag = "paid"
PUBLIC: Tag = "public"


class UntaggedRelease(Exception):
    """A number that nothing pays for and that is not declared public; it does not leave."""

    def __init__(self, what: str, problem: str) -> None:
        """Name it and say what is missing."""
        super().__init__(f"{what} does not leave this hospital: {problem}")
        self.what = what
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One kind of message that a hospital sends.

    Attributes:
        record: its payload.
        body: record of the signed body, where the payload is signed.
        tags: field path -> tag; fields of entries of a list are "list.field", those of a signed body "body.field".
    """

    record: type
    tags: Mapping[str, Tag]
    body: type | None = None

    @property
    def needs_event(self) -> bool:
        """Whether a charge of its round must lie in the ledger."""
        return PAID in self.tags.values()


def _public(*paths: str) -> dict[str, Tag]:
    return dict.fromkeys(paths, PUBLIC)


OUTGOING: Mapping[str, Outgoing] = {
    "hello": Outgoing(records.Hello, _public("version", "hospital", "study_hash", "session_id", "round")),
    "study_answer": Outgoing(records.StudyAnswer, _public("study_hash", "accepted", "reason", "exit_code")),
    "advert": Outgoing(
        records.Signed,
        _public("body.hospital", "body.key", "body.commitment", "signature"),
        body=records.Advert,
    ),
    # Drawn for the seed of the sparse graph.
    "graph_contribution": Outgoing(records.GraphContribution, _public("contribution")),
    "upload_header": Outgoing(
        records.Signed,
        {
            **_public("body.hospital", "body.round", "body.order_hash", "body.seals_sha256"),
            **_public("body.seed_commitment", "body.share_commitments", "signature"),
            "body.vector_sha256": PAID,
        },
        body=records.UploadHeader,
    ),
    # Shares of mask seeds: drawn, not computed from patients.
    "seals": Outgoing(records.Seals, _public("round", "seals.receiver", "seals.nonce", "seals.ciphertext")),
    "vector_chunk": Outgoing(records.VectorChunk, {**_public("round", "offset"), "data": PAID}),
    "agreement": Outgoing(
        records.Agreement, _public("round", "set_hash", "signature", "seeds.hospital", "seeds.seed")
    ),
    "set_signature": Outgoing(records.SetSignature, _public("round", "set_hash", "signature")),
    "shares": Outgoing(records.Shares, _public("round", "shares.dealer", "shares.share", "shares.opening")),
    # Drawn, not computed from patients; paid all the same, because what the ledger was charged is the noise that is left.
    "spare_noise": Outgoing(records.SpareNoise, {**_public("round", "offset"), "data": PAID}),
    "abort": Outgoing(records.Abort, _public("round", "reason", "culprit")),
    # Charges, hashes and times of the ledger itself, and the rounds of which spare noise was told; nothing in it is computed from patients.
    "ledger_export": Outgoing(records.LedgerExport, _public("jsonl")),
}

# Numbers of a ClientApp's reply that are declared: 1, or the size stated before extraction.
PUBLIC_METRICS = frozenset({"metrics.num-examples"})


def fields_of(outgoing: Outgoing) -> tuple[str, ...]:
    """Paths of all fields that such a message carries."""
    found = tuple(_paths(outgoing.record, ""))
    if outgoing.body is None:
        return found
    return (*(path for path in found if path != "body"), *_paths(outgoing.body, "body."))


def _paths(record: Any, prefix: str) -> Iterable[str]:
    for name, hint in get_type_hints(record, include_extras=True).items():
        inner = hint if is_dataclass(hint) else _element(hint)
        if inner is None:
            yield prefix + name
        else:
            yield from _paths(inner, f"{prefix}{name}.")


def _element(hint: Any) -> Any:
    """The record of a list's entries; None for anything else."""
    annotated = get_args(hint)
    if len(annotated) == 2 and isinstance(annotated[1], Items):
        element = get_args(annotated[0])[0]
        return element if is_dataclass(element) else None
    return None


@cache
def untagged(kind: str) -> tuple[str, ...]:
    """Fields of a kind of message without a tag; the kind itself where it is not declared at all."""
    outgoing = OUTGOING.get(kind)
    if outgoing is None:
        return (kind,)
    return tuple(path for path in fields_of(outgoing) if path not in outgoing.tags)


def charged_release(entries: Sequence[Entry], study_hash: str, round_number: int) -> str | None:
    """Name of the release that a round was charged and marked SPENT for; None where nothing of it may leave."""
    for record in (e.record for e in reversed(entries) if e.kind == "SPENT"):
        if (record.study_hash, record.round) == (study_hash, round_number) and record.release is not None:
            return record.release.name
    return None


def is_noted(entries: Sequence[Entry], study_hash: str, round_number: int) -> bool:
    """Whether the ledger says of a round of mode none that it leaves without noise."""
    return any(
        e.kind == "NOTE" and e.record.study_hash == study_hash and e.record.round == round_number
        for e in reversed(entries)
    )


def check_reply(leaves: Mapping[str, object], tags: Mapping[str, object], event: str) -> None:
    """Every leaf of a ClientApp's reply is tagged with the event of its task, or declared public.

    Args:
        leaves: path ("arrays.theta", "metrics.num-examples") -> value.
        tags: path -> name of the event, or "public".
        event: the release that pays for the task.

    Raises:
        UntaggedRelease: a leaf has no tag, another event's, or calls itself public without being declared.
    """
    for path in leaves:
        tag = tags.get(path)
        if tag is None:
            raise UntaggedRelease(
                path, "it has no tag; name the event that pays for it, or declare it public"
            )
        if tag == PUBLIC and path not in PUBLIC_METRICS:
            raise UntaggedRelease(path, "it calls itself public and is not declared so")
        if tag not in (PUBLIC, event):
            raise UntaggedRelease(path, f"its tag names {tag!r}, and the round pays for {event!r}")
