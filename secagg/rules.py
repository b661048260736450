"""What a hospital checks before it signs a proposed set, one function per rule of SPEC.md, section 7.3.

Each rule is a function of its own so that a test can take exactly one away and show the attack that it stops.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from secagg import identity
from secagg.agreed_set import header_hash, header_label
from secagg.errors import (
    BothShareKinds,
    HeaderChanged,
    NotInSet,
    OrderMismatch,
    StaleRound,
    TooFewNeighbors,
    TooFewSurvivors,
    WrongStep,
)
from secagg.pairs import Participants, RoundFrame
from secagg.params import SecAggParams
from secagg.roster import Roster
from secagg.wire import codec
from secagg.wire.records import Deposit, Signed, UploadHeader


def round_is(frame: RoundFrame, round_number: int) -> None:
    """The message belongs to the round that is under way."""
    if round_number != frame.round:
        raise StaleRound(round_number, f"round {frame.round} is under way")


def members_take_part(members: Collection[str], participants: Participants) -> None:
    """Everybody in the set is in the key list."""
    strangers = set(members) - participants.keys.keys()
    if strangers:
        raise WrongStep(f"the set names {', '.join(sorted(strangers))}, not in the key list")


def set_is_large_enough(members: Collection[str], params: SecAggParams) -> None:
    """|U| >= t: an honest sum covers at least t - T honest hospitals."""
    if len(members) < params.threshold:
        raise TooFewSurvivors(params.threshold, len(members), "agree")


def neighborhood_is_large_enough(
    members: Collection[str], me: str, participants: Participants, params: SecAggParams
) -> None:
    """|N(v) and U| >= t_k in the sparse graph: a hospital cuts itself off from k - t_k neighbors at most."""
    if params.neighborhood is None:
        return
    around = sum(1 for peer in participants.peers(me) if peer in members)
    if around < params.neighborhood.threshold:
        raise TooFewNeighbors(params.neighborhood.threshold, around, me)


def i_am_in(members: Collection[str], me: str) -> None:
    """v in U: a hospital signs only sets that hold its own vector."""
    if me not in members:
        raise NotInSet("the proposed set leaves out the hospital that is asked to sign it")


def own_header_is_unchanged(members: Mapping[str, bytes], me: str, own_header_hash: bytes) -> None:
    """The header that stands for this hospital is the one it sent."""
    if members[me] != own_header_hash:
        raise HeaderChanged("the set names another header for this hospital than the one it sent")


def set_only_shrinks(members: Mapping[str, bytes], earlier: Mapping[str, bytes]) -> None:
    """U is a subset of what was agreed to before, with the same headers.

    Whoever was left out before had its mask seed revealed; taking it back in would ask for its self-mask share too.
    """
    grown = members.keys() - earlier.keys()
    if grown:
        raise BothShareKinds(grown)
    for hospital, digest in members.items():
        if earlier[hospital] != digest:
            raise HeaderChanged("the set names another header than the one agreed to before", hospital)


def one_share_kind(opened: Collection[str], revealed: Collection[str]) -> None:
    """No peer's self-mask share is given after its mask seed was; holds by `set_only_shrinks`, checked again."""
    both = set(opened) & set(revealed)
    if both:
        raise BothShareKinds(both)


def orders_are_equal(headers: Mapping[str, UploadHeader], own_order_hash: bytes) -> None:
    """Everybody in the set was told the same order (Pasquini et al. 2022, model inconsistency)."""
    others = [hospital for hospital, header in headers.items() if header.order_hash != own_order_hash]
    if others:
        raise OrderMismatch(others)


def one_final_set(params: SecAggParams) -> None:
    """Only in the sparse graph is a set signed in a step of its own, and opened only after it."""
    if params.neighborhood is None:
        raise WrongStep("sets of the complete graph are signed when they are agreed to")


def final_set_is_signed(params: SecAggParams) -> None:
    """In the sparse graph nothing is opened but the one final set."""
    if params.neighborhood is not None:
        raise WrongStep("no final set is signed in this round")


def everybody_signed(signers: Collection[str], members: Collection[str]) -> None:
    """Complete graph: every member of U signed U, so a set is opened only once no honest member of it can sign a larger one.

    A threshold of signatures would do for the masks. It would not for what a hospital says of its noise once it opens (SPEC.md, section 9).
    """
    missing = set(members) - set(signers)
    if missing:
        raise WrongStep(f"{', '.join(sorted(missing))} did not sign the set that is to be opened")


def final_set_is(agreed: bytes, asked: bytes) -> None:
    """The final set is the one agreed to last: the seeds of those outside it, and no others, are revealed."""
    if agreed != asked:
        raise WrongStep("the set to be signed is not the one that was agreed to last")


def order_is(frame: RoundFrame, order_hash: bytes) -> None:
    """The set itself names the order that this hospital was given."""
    if order_hash != frame.order_hash:
        raise WrongStep("the set names another round order than the one under way")


def one_deposit_each(dealers: Collection[str], deposits: Collection[Deposit]) -> None:
    """There is one deposit per member whose share the receiver holds."""
    if len(deposits) != len(dealers):
        raise WrongStep(f"{len(deposits)} deposits came for {len(dealers)} members")


def header_is(hospital: str, named: bytes, found: bytes) -> None:
    """The header in the deposit is the one that the set names."""
    if named != found:
        raise HeaderChanged("the deposit holds another header than the set names", hospital)


def read_header(
    signed: Signed, hospital: str, frame: RoundFrame, params: SecAggParams, roster: Roster
) -> tuple[UploadHeader, bytes]:
    """The verified header of a hospital in this round, and its hash; the order hash is not compared here.

    Raises:
        WireError: not a header.
        WrongStep: of another hospital or round, or with a commitment too many or too few.
        BadSignature: not signed by the hospital in this context.
    """
    header = codec.decode(UploadHeader, signed.body, 40 * params.n + 1000)
    header_is_signed(signed, header, hospital, frame, roster)
    if header.hospital != hospital or header.round != frame.round:
        raise WrongStep("the header belongs to another hospital or round", hospital)
    if len(header.share_commitments) != len(frame.participants.holders(hospital)):
        raise WrongStep("the header does not commit to one share per holder", hospital)
    return header, header_hash(frame, signed.body)


def header_is_signed(
    signed: Signed, header: UploadHeader, hospital: str, frame: RoundFrame, roster: Roster
) -> None:
    """The hospital itself signed the header."""
    public = roster.member(hospital).identity_key
    tag = header_label(frame, header)
    identity.verify(public, tag, signed.body, signed.signature, what="upload header", who=hospital)
