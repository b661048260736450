"""What a malicious coordinator says: each lie is made of what it holds, its own signing key included."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from dataclasses import replace

from privacy.studies import exchange, next_model
from secagg import coordinator as co
from secagg import order, receipt
from secagg.agreed_set import set_hash
from secagg.errors import SecAggError
from secagg.receipt import NO_RECEIPT
from secagg.wire import codec
from secagg.wire.records import (
    Abort,
    AgreeRequest,
    GraphSeed,
    KeyList,
    MemberSignature,
    OpenRequest,
    Receipt,
    ReceiptBody,
    RoundOrder,
    SessionStart,
    SignRequest,
)
from tests.sim.server import Server
from tests.unit.secagg.rounds import craft_request, entropy, names

Signatures = dict[tuple[int, bytes], dict[str, bytes]]


def lie(server: Server, kind: int, hospital: str, choice: int, signatures: Signatures) -> None:
    """Tell one hospital one lie, if the coordinator has what it takes; `choice` picks among its variants.

    Args:
        server: what the coordinator holds.
        kind: which lie, modulo their number.
        hospital: who is lied to.
        choice: any number.
        signatures: (round, set hash) to every signature on such a set that ever arrived.
    """
    try:
        LIES[kind % len(LIES)](server, hospital, choice, signatures)
    except SecAggError:
        return


def _uploading(server: Server) -> co.Uploading | None:
    match server.phase:
        case co.Uploading():
            return server.phase
        case co.Agreeing():
            return server.phase.uploading
        case co.Opening() | co.Settling():
            return server.phase.agreeing.uploading
    return None


def _chosen(everybody: Collection[str], choice: int) -> list[str]:
    return [name for i, name in enumerate(everybody) if choice >> i & 1]


def other_model(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """Another model under the same round number (Pasquini et al. 2022), or under one that was or will be."""
    if server.session is None:
        return
    number = max(1, server.next_round - 1 + choice % 4 - 1)
    task = exchange.task_of(server.agreement, min(number, server.rounds))
    theta = next_model.start_model(server.agreement, None, ()) + 0.001 * (choice % 3)
    model = b"" if task == "life_table" else exchange.model_bytes(theta)
    known = [done for done in server.finished if done.round < number]
    previous = NO_RECEIPT
    if known and choice % 5:
        desk = server.session.desk
        previous = receipt.audit_receipt(
            known[-1].receipt, desk.context.study_hash, desk.roster, desk.params
        ).ref
    settings = exchange.order_settings(server.agreement, min(number, server.rounds))
    told = RoundOrder(number, task, model, settings, previous.round, previous.hash)
    desk = server.session.desk
    server.send(hospital, order.sign_order(desk.identity, desk.context, server.session.participants, told))


def any_set(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A set of the coordinator's choice, in the hope of a signature and of mask seeds."""
    uploading = _uploading(server)
    if uploading is not None:
        members = _chosen(tuple(uploading.uploads), choice) or list(uploading.uploads)
        server.send(hospital, craft_request(uploading, members, hospital))


def set_of_another_receiver(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A request whose seals are meant for somebody else."""
    uploading = _uploading(server)
    if uploading is not None and uploading.uploads:
        other = names(server.n)[choice % server.n]
        server.send(hospital, craft_request(uploading, uploading.uploads, other))


def swapped_header(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A request in which two hospitals have changed places."""
    uploading = _uploading(server)
    if uploading is None or len(uploading.uploads) < 2:
        return
    there = [*uploading.uploads]
    one, other = there[choice % len(there)], there[(choice + 1) % len(there)]
    uploads = {**uploading.uploads, one: uploading.uploads[other]}
    server.send(hospital, craft_request(replace(uploading, uploads=uploads), uploads, hospital))


def open_any(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """All signatures that ever came for some set, with forged ones beside them in half of the cases."""
    if not signatures:
        return
    (number, _), given = [*signatures.items()][choice % len(signatures)]
    entries = dict(given)
    if choice & 1:
        entries = {**dict.fromkeys(names(server.n), bytes(64)), **entries}
    message = OpenRequest(number, tuple(MemberSignature(h, entries[h]) for h in sorted(entries)))
    server.send(hospital, codec.pack("open_request", message))


def other_key_list(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A key list that leaves some out, or comes twice, or starts at another round."""
    match server.phase:
        case co.Collecting():
            adverts = dict(server.phase.adverts)
        case co.Revealing():
            listed = server.phase.listed
            adverts = {a.hospital: s for a, s in zip(listed.adverts, listed.signed, strict=True)}
        case _:
            adverts = {}
    chosen = tuple(adverts[h] for h in _chosen(sorted(adverts), choice))
    server.send(hospital, codec.pack("key_list", KeyList(max(1, server.next_round - choice % 2), chosen)))


def other_session(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A session for one hospital alone, or of another roster."""
    roster_hash = bytes(32) if choice % 3 == 0 else _roster_hash(server)
    start = SessionStart(bytes.fromhex(server.agreement.hash), roster_hash, entropy("lie", choice % 7)[:16])
    server.send(hospital, codec.pack("session_start", start))


def wrong_receipt(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """The last receipt with another sum: as it is, or signed anew by the coordinator."""
    if not server.finished or server.session is None:
        return
    held = codec.unpack("receipt", Receipt, server.finished[-1].receipt)
    body = replace(
        codec.decode(ReceiptBody, held.signed.body), sum_sha256=hashlib.sha256(held.sum[::-1]).digest()
    )
    desk = server.session.desk
    forged = receipt.sign_receipt(desk.identity, desk.context, body, held.sum[::-1])
    server.send(hospital, forged if choice & 1 else codec.pack("receipt", replace(held, sum=held.sum[::-1])))


def agree_again(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """The proposal of this moment with one deposit's seal damaged."""
    uploading = _uploading(server)
    if uploading is None or not uploading.uploads:
        return
    request = codec.unpack(
        "agree_request", AgreeRequest, craft_request(uploading, uploading.uploads, hospital)
    )
    place = choice % len(request.deposits)
    deposits = list(request.deposits)
    deposits[place] = replace(deposits[place], ciphertext=deposits[place].ciphertext[::-1])
    server.send(hospital, codec.pack("agree_request", replace(request, deposits=tuple(deposits))))


def forget_upload(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """The upload of one hospital is dropped and may come again later."""
    if isinstance(server.phase, co.Uploading):
        left = {name: upload for name, upload in server.phase.uploads.items() if name != hospital}
        server.phase = replace(server.phase, uploads=left)
        server.uploads.pop(hospital, None)


def false_abort(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A round is said to be over."""
    server.send(hospital, codec.pack("abort", Abort(max(0, server.next_round - choice % 3), "lie", "")))


def grind(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A new session, in the hope of a graph that suits better."""
    if server.sparse:
        server.open_session()


def other_seed(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A graph of which one contribution is another's, or zero."""
    if not isinstance(server.phase, co.Revealing) or not server.phase.contributions:
        return
    known, everybody = server.phase.contributions, server.phase.listed.adverts
    some = [*known.values()][choice % len(known)]
    seed = GraphSeed(tuple(known.get(a.hospital, some if choice & 1 else bytes(32)) for a in everybody))
    server.send(hospital, codec.pack("graph_seed", seed))


def sign_early(server: Server, hospital: str, choice: int, signatures: Signatures) -> None:
    """A request to sign some set as the final one before everybody agreed to it."""
    uploading = _uploading(server)
    if uploading is None or not server.sparse:
        return
    asked = craft_request(uploading, _chosen(tuple(uploading.uploads), choice) or uploading.uploads, hospital)
    proposed = codec.unpack("agree_request", AgreeRequest, asked).agreed_set
    server.send(hospital, asked)
    digest = set_hash(uploading.frame, proposed)
    server.send(hospital, codec.pack("sign_request", SignRequest(uploading.frame.round, digest)))


def _roster_hash(server: Server) -> bytes:
    return server.session.desk.roster.hash if server.session else bytes(32)


LIES: tuple[Callable[[Server, str, int, Signatures], None], ...] = (
    any_set,
    open_any,
    other_model,
    set_of_another_receiver,
    swapped_header,
    other_key_list,
    other_session,
    wrong_receipt,
    agree_again,
    forget_upload,
    false_abort,
    grind,
    other_seed,
    sign_early,
)
