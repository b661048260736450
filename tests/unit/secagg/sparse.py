"""Rounds over the sparse graph that its tests begin with, and what a malicious coordinator asks in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from secagg import coordinator as co
from secagg import hospital as ho
from secagg.params import Neighborhood, SecAggParams
from secagg.settling import AgreeRequests
from secagg.wire import codec
from secagg.wire.records import (
    AgreeRequest,
)
from tests.unit.secagg.rounds import (
    Consortium,
    craft_request,
    names,
)

PARAMS = SecAggParams(12, 1, 7, 32, 20, Neighborhood(6, 4))
ALL = names(12)


def uploaded(params: SecAggParams = PARAMS, absent: tuple[str, ...] = ()) -> tuple[Consortium, co.Uploading]:
    c = Consortium(params)
    present = [name for name in c.hospitals if name not in absent]
    return c, c.upload_all(c.order(1, c.hospitals), present)


def neighbors(c: Consortium, name: str) -> tuple[str, ...]:
    return c.session.participants.peers(name)


def craft(uploading: co.Uploading, members: Any, receiver: str) -> bytes:
    """An agree request of a malicious coordinator: any set, the right deposits."""
    chosen = tuple(sorted(members))
    agreeing, _ = co.propose(replace(uploading, uploads={m: uploading.uploads[m] for m in chosen}))
    return AgreeRequests(uploading, chosen, agreeing.proposed_bytes)[receiver]


def asking(c: Consortium, name: str, request: bytes) -> Callable[[], tuple[ho.Agreed, bytes]]:
    return lambda: ho.agree(c.hospitals[name], request)


def craft_small(uploading: co.Uploading, members: Any, receiver: str) -> bytes:
    """`craft` below the threshold that an honest coordinator keeps."""
    full = craft_request(uploading, members, receiver)
    data = codec.unpack("agree_request", AgreeRequest, full).agreed_set
    return AgreeRequests(uploading, tuple(sorted(members)), data)[receiver]
