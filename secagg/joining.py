"""The hospital's arrows of the session set-up; `secagg.hospital` shows them too.

Complete graph: advertise, key list. Sparse graph: the advert also commits to a random contribution; the key list fixes all
commitments, then everybody reveals, and from all contributions together the graph follows. Nobody can choose it: whoever
knows what the others contributed is committed, and without any one contribution there is no graph.
"""

from __future__ import annotations

from dataclasses import replace

from secagg import dealing, graph, identity, kdf
from secagg.context import Context, label
from secagg.drawing import check_neighbors_adverts, draw_participants, read_listed
from secagg.errors import GraphNotDrawn, KeyListError, ParameterError, StaleRound, TooFewNeighbors
from secagg.pairs import Participants, advert_label, exchange_public, pair_chains, read_key_list
from secagg.params import SecAggParams
from secagg.receipt import NO_RECEIPT, ReceiptRef
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.sparse_table import GRAPHS_PER_HOSPITAL
from secagg.states import Advertised, Ready, Revealed, Seat
from secagg.wire import codec
from secagg.wire.records import Advert, GraphContribution, GraphSeed, Signed


def advertise(
    identity_key: SecretBytes,
    params: SecAggParams,
    roster: Roster,
    context: Context,
    me: str,
    entropy: bytes,
    *,
    highest_round: int = 0,
    last_receipt: ReceiptRef = NO_RECEIPT,
    graphs: int = 0,
) -> tuple[Advertised, bytes]:
    """Start a session with a fresh key.

    Args:
        identity_key: the hospital's long-lived Ed25519 seed.
        params: from the study agreement, checked against the hospital's own policy.
        roster: as signed by every hospital.
        context: study, roster and session.
        me: own id.
        entropy: 32 fresh random bytes.
        highest_round: the highest round of this study that was started in an earlier session.
        last_receipt: the latest receipt accepted in an earlier session.
        graphs: contributions to a sparse graph that were revealed in earlier sessions of this study.

    Raises:
        ParameterError: the arguments do not belong together.
    """
    if params.n != len(roster.hospitals) or context.roster_hash != roster.hash:
        raise ParameterError("params, roster and context must describe the same hospitals")
    if identity.public_key(identity_key) != roster.member(me).identity_key:
        raise ParameterError(f"the identity key is not the one that the roster lists for {me}")
    session_key, contribution, commitment = SecretBytes(dealing.exactly(entropy)), None, b""
    if params.neighborhood is not None:
        drawn = session_key
        session_key = kdf.expand(drawn, label(context, "draw-session-key", hospital=me))
        contribution = kdf.expand(drawn, label(context, "draw-contribution", hospital=me))
        commitment = graph.commit_to_contribution(context, me, contribution)
    body = codec.encode(Advert(me, exchange_public(session_key), commitment))
    signed = Signed(body, identity.sign(identity_key, advert_label(context), body))
    seat = Seat(identity_key, params, roster, context, me)
    state = Advertised(seat, session_key, highest_round, last_receipt, contribution, graphs)
    return state, codec.pack("advert", signed)


def accept_key_list(state: Advertised, data: bytes) -> Ready:
    """Complete graph: check everybody's key and derive the pair secrets; the session key is dropped.

    Raises:
        WireError, KeyListError, BadSignature, TooFewSurvivors: the key list must not be used.
        StaleRound: the session would start at a round that is over.
    """
    seat = state.seat
    payload = codec.expect("key_list", data, 1000 * seat.params.n + 200)
    if seat.params.neighborhood is not None:
        raise KeyListError("the graph of this session is not drawn yet; the contribution comes first")
    participants = read_key_list(payload, seat.params, seat.roster, seat.context)
    if participants.keys.get(seat.me) != exchange_public(state.session_key):
        raise KeyListError("the own session key is missing or changed")
    _check_first_round(participants.first_round, state)
    return _ready(state, participants)


def reveal_contribution(state: Advertised, data: bytes) -> tuple[Revealed, bytes]:
    """Sparse graph: check the key list, which fixes every commitment, and reveal the own contribution, once.

    Signatures are checked once the neighbors are known (SPEC.md, section 10.3 says why that is enough).

    Raises:
        WireError, KeyListError, TooFewSurvivors: the key list must not be used.
        StaleRound: the session would start at a round that is over.
        GraphNotDrawn: this hospital has helped to draw as many graphs as one study may have.
    """
    seat = state.seat
    payload = codec.expect("key_list", data, 1000 * seat.params.n + 200)
    if state.contribution is None:
        raise KeyListError("a study with the complete graph draws none")
    listed = read_listed(payload, seat.params, seat.roster)
    commitment = graph.commit_to_contribution(seat.context, seat.me, state.contribution)
    own = Advert(seat.me, exchange_public(state.session_key), commitment)
    if own not in listed.adverts:
        raise KeyListError("the own session key or commitment is missing or changed")
    _check_first_round(listed.first_round, state)
    few_graphs(state.graphs)
    after = replace(state, contribution=None, graphs=state.graphs + 1)
    answer = GraphContribution(state.contribution.reveal())
    return Revealed(after, listed), codec.pack("graph_contribution", answer)


def accept_graph_seed(state: Revealed, data: bytes) -> Ready:
    """Sparse graph: check every contribution against its commitment, and the neighbors' adverts; derive the pair secrets.

    Raises:
        WireError, KeyListError, BadSignature: the graph must not be used.
        TooFewNeighbors: too few of this hospital's neighbors are in the key list.
    """
    seat, listed = state.seat, state.listed
    params = seat.params
    assert params.neighborhood is not None
    seed = codec.unpack("graph_seed", GraphSeed, data, 100 * params.n + 1000)
    participants = draw_participants(listed, seed.contributions, params, seat.roster, seat.context)
    around = participants.peers(seat.me)
    if len(around) < params.neighborhood.threshold:
        raise TooFewNeighbors(params.neighborhood.threshold, len(around), seat.me)
    check_neighbors_adverts(listed, around, seat.roster, seat.context)
    return _ready(state.advertised, participants)


def few_graphs(graphs: int) -> None:
    """Raise GraphNotDrawn if the study has had its graphs: each may fail, and who dislikes one can break it off."""
    if graphs >= GRAPHS_PER_HOSPITAL:
        raise GraphNotDrawn(
            f"this hospital helped to draw {graphs} graphs in this study, it helps with no more; open a new study"
        )


def _check_first_round(first_round: int, state: Advertised) -> None:
    if first_round <= state.highest_round:
        raise StaleRound(first_round, f"rounds up to {state.highest_round} are over")


def _ready(state: Advertised, participants: Participants) -> Ready:
    seat = state.seat
    return Ready(
        seat,
        participants,
        pair_chains(state.session_key, participants, seat.context, seat.me),
        participants.first_round,
        state.highest_round,
        state.last_receipt,
        state.graphs,
    )
