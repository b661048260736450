"""The coordinator's last step: shares come in, the sum is receipted. `secagg.coordinator` shows these arrows too."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from secagg import receipt, rules, sealing
from secagg.errors import BadShare, ParameterError, WrongStep
from secagg.masks import Ring
from secagg.pairs import RoundFrame
from secagg.sealing import HeldShare
from secagg.secret import SecretBytes
from secagg.tables import BadOpening, Opening
from secagg.wire import codec
from secagg.wire.records import MemberSignature, MissingHospital, ReceiptBody, Shares


def add_shares(state: Opening, hospital: str, data: bytes) -> Opening:
    """Take a member's shares: each is checked against its dealer's commitment, a bad one is skipped and named.

    Raises:
        WireError, StaleRound, WrongStep: not this member's shares of this round.
    """
    uploading = state.agreeing.uploading
    frame, params = uploading.frame, uploading.session.desk.params
    answer = codec.unpack("shares", Shares, data, 300 * params.n + 1000)
    rules.round_is(frame, answer.round)
    if hospital not in state.good_shares:
        raise WrongStep("it is not in the set that is opened", hospital)
    if hospital in state.opened_by:
        return state
    given = {opened.dealer: opened for opened in answer.shares}
    dealers = [who for who in frame.participants.holders(hospital) if who in state.good_shares]
    if not given.keys() <= set(dealers):
        raise WrongStep(
            "it opened a share of a hospital outside the set, or one that it does not hold", hospital
        )
    good = dict(state.good_shares)
    bad = []
    for dealer in dealers:
        place = frame.participants.holders(dealer).index(hospital)
        opened = given.get(dealer)
        held = HeldShare(SecretBytes(opened.share), SecretBytes(opened.opening)) if opened else None
        commitment = uploading.uploads[dealer].header.share_commitments[place]
        if held and _opens(frame, dealer, hospital, held, commitment):
            good[dealer] = {**good[dealer], hospital: held.share}
        else:
            bad.append(BadOpening(hospital, dealer))
    return replace(
        state,
        opened_by=state.opened_by | {hospital},
        good_shares=good,
        bad_shares=(*state.bad_shares, *bad),
    )


def can_open(state: Opening) -> bool:
    """Whether every member's self-mask has a threshold of good shares."""
    threshold = state.agreeing.uploading.session.desk.params.share_threshold
    return all(len(shares) >= threshold for shares in state.good_shares.values())


def missing_hospitals(state: Opening) -> dict[str, str]:
    """Who was not there, and at which step: advertise, upload, agree (not in the sum) or open (in the sum)."""
    uploading = state.agreeing.uploading
    steps = (
        ("advertise", uploading.frame.participants.keys),
        ("upload", uploading.uploads.keys()),
        ("agree", set(state.members)),
        ("open", state.opened_by),
    )
    missing: dict[str, str] = {}
    for hospital in uploading.session.desk.roster.ids:
        step = next((name for name, present in steps if hospital not in present), None)
        if step is not None:
            missing[hospital] = step
    return missing


def make_receipt(state: Opening, total: Ring) -> bytes:
    """The signed receipt of the round, carrying the sum (`receipt.without_sum` leaves it out).

    Args:
        state: the opened round.
        total: the checked sum, (dim,), from `unmask` or `check_constants`.
    """
    uploading = state.agreeing.uploading
    desk, frame = uploading.session.desk, uploading.frame
    if total.shape != (desk.params.dim,) or total.dtype != desk.params.ring:
        raise ParameterError("the receipt is made of the checked sum")
    data, signed = np.ascontiguousarray(total).data.cast("B"), state.agreeing.signatures
    body = ReceiptBody(
        frame.round,
        frame.order_hash,
        frame.participants.hash,
        state.agreeing.proposed_bytes,
        tuple(MemberSignature(w, signed[w]) for w in state.members if w in signed),
        tuple(MissingHospital(who, step) for who, step in missing_hospitals(state).items()),
        hashlib.sha256(data).digest(),
        uploading.order.previous_round,
        uploading.order.previous_receipt,
        desk.context.session_id,
    )
    return receipt.sign_receipt(desk.identity, desk.context, body, data)


def _opens(frame: RoundFrame, dealer: str, holder: str, held: HeldShare, commitment: bytes) -> bool:
    try:
        sealing.check_share(frame, dealer, holder, held, commitment, culprit=holder)
    except BadShare:
        return False
    return True
