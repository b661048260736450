"""What the node says: to its operator, and about a message that it refuses."""

from __future__ import annotations

from dataclasses import dataclass

from hospital_node.admission import Admitted
from hospital_node.upload_files import UploadLost
from privacy.guarantees.guarantee import rounded_up
from privacy.guarantees.stage_release import VoidRelease
from privacy.ledgers.policy_refusal import PolicyRefusal
from privacy.synthesis.charges import SynthesisRelease
from secagg.errors import BadShare, ProtocolError, WireError
from secagg.wire import codec
from secagg.wire.records import AgreedSet, AgreeRequest, OpenRequest, RoundOrder, Signed, SignRequest

RESTORED = (
    "the journal was an older copy and forgot what this hospital agreed to; its sessions are dropped and the next session starts anew: "
    "keep the journal on a volume that is never restored"
)

# What the coordinator hears when a number stays because nothing pays for it; the operator is told which.
STAYS = "the hospital does not send what no event of its ledger pays for; its operator knows more"
# Every refusal of a study looks alike on the wire; the hospital's own exit code says why.
REFUSED = 1


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something that is about to leave the hospital: shown to the operator first, who may say no."""

    step: str
    round: int
    text: str


@dataclass(frozen=True, slots=True)
class NodeEvent:
    """What the node tells its operator; never a patient's value, never a secret."""

    event: str
    text: str
    round: int = 0


@dataclass(frozen=True, slots=True)
class Ended:
    """How the study ended for this hospital, and the exit code that says so."""

    status: str
    reason: str
    exit_code: int


class Declined(Exception):
    """The operator did not let a message leave."""


def wire_reason(error: Exception) -> str:
    """What the coordinator hears; of a policy's refusal the rule alone, not what the hospital spent elsewhere."""
    if isinstance(error, PolicyRefusal):
        return f"the hospital's policy refuses the round by {error.rule}"
    if isinstance(error, UploadLost):
        return "the upload of this round is not on the hospital's disk any more"
    return str(error)


def asked_round(message: bytes) -> int:
    """The round that a refused request names, unverified: it only labels the refusal."""
    try:
        kind, payload = codec.unwrap(message)
        match kind:
            case "round_order":
                return codec.decode(RoundOrder, codec.decode(Signed, payload).body).round
            case "agree_request":
                return codec.decode(AgreedSet, codec.decode(AgreeRequest, payload).agreed_set).round
            case "sign_request":
                return codec.decode(SignRequest, payload).round
            case "open_request":
                return codec.decode(OpenRequest, payload).round
    except WireError:
        return 0
    return 0


def blamed(error: Exception) -> str:
    """Whom an abort names: of a share that does not open its dealer, so that the coordinator can propose a set without it."""
    match error:
        case BadShare():
            return error.dealer
        case ProtocolError():
            return error.culprit or ""
        case _:
            return ""


def kind_of(message: bytes) -> str:
    """The kind of a message, for the operator's line."""
    try:
        return codec.unwrap(message)[0].replace("_", " ")
    except WireError:
        return "a message"


def terms(admitted: Admitted) -> str:
    """What the hospital accepts with a study, in one sentence for its operator."""
    if admitted.agreement.plan is None:
        return "mode none, no noise and no formal guarantee"
    plan, after = admitted.agreement.plan, admitted.permit.after
    if isinstance(plan.stage, VoidRelease):
        return f"no formal guarantee. {after.reason}"
    together = (
        f"come to {rounded_up(after.number(), 3)}"
        if after.epsilon is not None
        else f"have none: {after.reason}"
    )
    through = ""
    if isinstance(plan.stage, SynthesisRelease):
        through = ", all of it for the synthetic patients that stand in place of the real ones"
    return (
        f"epsilon {plan.epsilon:g} at delta {plan.delta:g} per patient (add/remove) for everything it releases{through}; "
        f"then all studies together, unless one was chosen by another's results, {together}"
    )
