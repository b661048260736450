"""The coordinator's arrows of the session set-up; `secagg.coordinator` shows them too."""

from __future__ import annotations

from dataclasses import replace

from secagg import pairs
from secagg.context import Context
from secagg.drawing import check_contribution, draw_participants, read_listed
from secagg.errors import GraphNotDrawn, KeyListError, ParameterError, WrongStep
from secagg.params import SecAggParams
from secagg.roster import Roster
from secagg.secret import SecretBytes
from secagg.tables import Collecting, Desk, Revealing, Session
from secagg.wire import codec
from secagg.wire.records import GraphContribution, GraphSeed, KeyList, Signed


def collect_adverts(
    identity_key: SecretBytes, params: SecAggParams, roster: Roster, context: Context, *, first_round: int = 1
) -> Collecting:
    """Open a session.

    Args:
        identity_key: the coordinator's Ed25519 seed.
        params: from the study agreement.
        roster: as signed by every hospital.
        context: study, roster and a fresh session id.
        first_round: the next round number of the study.
    """
    if params.n != len(roster.hospitals) or context.roster_hash != roster.hash:
        raise ParameterError("params, roster and context must describe the same hospitals")
    return Collecting(Desk(identity_key, params, roster, context), first_round, {})


def add_advert(state: Collecting, hospital: str, data: bytes) -> Collecting:
    """Take a hospital's signed key; the same one again changes nothing.

    Raises:
        WireError, KeyListError, BadSignature: the advert cannot go into a key list.
        WrongStep: a second, different advert in one session.
    """
    signed = codec.unpack("advert", Signed, data, 10_000)
    advert = pairs.read_advert(signed, state.desk.roster, state.desk.context)
    pairs.check_commitment(advert, state.desk.params)
    if advert.hospital != hospital:
        raise KeyListError("it sent the advert of another hospital", hospital)
    if hospital in state.adverts:
        if state.adverts[hospital] != signed:
            raise WrongStep("a second key in one session; open a new session for it", hospital)
        return state
    return replace(state, adverts={**state.adverts, hospital: signed})


def close_adverts(state: Collecting) -> tuple[Session, bytes]:
    """Complete graph: the session of all who advertised, and the key list for each of them.

    Raises:
        TooFewSurvivors: fewer than the threshold.
        KeyListError: two hospitals advertise one key.
        ParameterError: the study has a sparse graph; it starts with `fix_commitments`.
    """
    desk = state.desk
    if desk.params.neighborhood is not None:
        raise ParameterError("a sparse graph is drawn from contributions; fix the commitments to them first")
    payload = _key_list(state)
    participants = pairs.read_key_list(payload, desk.params, desk.roster, desk.context)
    return Session(desk, participants), codec.wrap("key_list", payload)


def fix_commitments(state: Collecting) -> tuple[Revealing, bytes]:
    """Sparse graph: the key list of all who advertised; each of them answers with its contribution.

    Raises:
        TooFewSurvivors, KeyListError: as `close_adverts`.
        ParameterError: the study has the complete graph.
    """
    desk = state.desk
    if desk.params.neighborhood is None:
        raise ParameterError("the complete graph is not drawn; close the adverts")
    payload = _key_list(state)
    return Revealing(desk, read_listed(payload, desk.params, desk.roster), {}), codec.wrap(
        "key_list", payload
    )


def add_contribution(state: Revealing, hospital: str, data: bytes) -> Revealing:
    """Sparse graph: take a hospital's contribution; the same one again changes nothing.

    Raises:
        WireError, WrongStep: not a contribution, or of nobody on the key list.
        KeyListError: not the one that its advert commits to.
    """
    contribution = codec.unpack("graph_contribution", GraphContribution, data, 1000).contribution
    advert = next((advert for advert in state.listed.adverts if advert.hospital == hospital), None)
    if advert is None:
        raise WrongStep("it is not in the key list of this session", hospital)
    check_contribution(state.desk.context, advert, contribution)
    return replace(state, contributions={**state.contributions, hospital: contribution})


def missing_contributions(state: Revealing) -> frozenset[str]:
    """Hospitals of the key list that did not reveal; a new session without them is all that is left."""
    return frozenset(advert.hospital for advert in state.listed.adverts) - state.contributions.keys()


def close_contributions(state: Revealing) -> tuple[Session, bytes]:
    """Sparse graph: the session with its graph, and the message of all contributions for everybody.

    Raises:
        GraphNotDrawn: somebody did not reveal.
    """
    missing = missing_contributions(state)
    if missing:
        raise GraphNotDrawn(
            f"{', '.join(sorted(missing))} did not reveal a contribution; open a new session without them"
        )
    desk, listed = state.desk, state.listed
    contributions = tuple(state.contributions[advert.hospital] for advert in listed.adverts)
    participants = draw_participants(listed, contributions, desk.params, desk.roster, desk.context)
    return Session(desk, participants), codec.pack("graph_seed", GraphSeed(contributions))


def _key_list(state: Collecting) -> bytes:
    everybody = state.desk.roster.ids
    adverts = tuple(state.adverts[hospital] for hospital in everybody if hospital in state.adverts)
    return codec.encode(KeyList(state.first_round, adverts))
