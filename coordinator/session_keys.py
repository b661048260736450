"""The keys of a session over the link: adverts in, key list out; in a sparse graph also contributions in, and the graph out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from coordinator.gather import Gatherer, Silence
from secagg import coordinator as protocol
from secagg.context import Context
from secagg.params import SecAggParams
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.wire import codec
from secagg.wire.records import SessionStart

State = TypeVar("State")


def agree_on_keys(
    gatherer: Gatherer,
    identity: SecretBytes,
    params: SecAggParams,
    roster: Roster,
    fresh: Callable[[], Context],
    first_round: int,
    present: frozenset[str],
) -> tuple[protocol.Session, dict[str, Silence]]:
    """Two trips, three in a sparse graph. Returns the session, and who is not on its key list, with the reason.

    Who advertises and then does not contribute costs the others one of the graphs that they may draw: the next session is without it.

    Args:
        fresh: a context with a new session id at each call.

    Raises:
        TooFewSurvivors: fewer than the threshold sent a good advert.
    """
    gone: dict[str, Silence] = {}
    while True:
        left = present - gone.keys()
        collecting, silent = _advertise(gatherer, identity, params, roster, fresh(), first_round, left)
        gone |= silent
        listed = left - silent.keys()
        if params.neighborhood is None:
            session, key_list = protocol.close_adverts(collecting)
            _tell(gatherer, listed, (key_list,), key_list)
            return session, gone
        revealing, key_list = protocol.fix_commitments(collecting)
        revealing, silent = _reveal(gatherer, revealing, key_list, listed)
        gone |= silent
        if not silent:
            session, seed = protocol.close_contributions(revealing)
            _tell(gatherer, listed, (key_list, seed), seed)
            return session, gone


def _advertise(
    gatherer: Gatherer,
    identity: SecretBytes,
    params: SecAggParams,
    roster: Roster,
    context: Context,
    first_round: int,
    present: frozenset[str],
) -> tuple[protocol.Collecting, dict[str, Silence]]:
    collecting = protocol.collect_adverts(identity, params, roster, context, first_round=first_round)
    start = codec.pack(
        "session_start", SessionStart(context.study_hash, context.roster_hash, context.session_id)
    )
    for hospital in sorted(present):
        gatherer.ask(hospital, start)
    return _gathered(gatherer, "advertise", present, "advert", collecting, protocol.add_advert)


def _tell(gatherer: Gatherer, listed: frozenset[str], greeting: tuple[bytes, ...], news: bytes) -> None:
    """The news to everybody, and the whole greeting to whoever restarts later: it would otherwise never get it."""
    for hospital in sorted(listed):
        for message in greeting:
            gatherer.greet(hospital, message)
        gatherer.tell(hospital, news)


def _reveal(
    gatherer: Gatherer, revealing: protocol.Revealing, key_list: bytes, listed: frozenset[str]
) -> tuple[protocol.Revealing, dict[str, Silence]]:
    """Everybody's contribution; the graph needs all: who were left out now could choose between two graphs."""
    for hospital in sorted(listed):
        gatherer.ask(hospital, key_list)
    return _gathered(gatherer, "reveal", listed, "graph_contribution", revealing, protocol.add_contribution)


def _gathered(
    gatherer: Gatherer,
    step: str,
    asked: frozenset[str],
    kind: str,
    state: State,
    add: Callable[[State, str, bytes], State],
) -> tuple[State, dict[str, Silence]]:
    """The state with every answer of this kind from the hospitals that were asked, and who gave none."""

    def take(hospital: str, came: str, message: bytes) -> bool:
        nonlocal state
        if came == kind:
            state = add(state, hospital, message)
        return came == kind

    silent = gatherer.gather(step, asked, take)
    return state, silent
