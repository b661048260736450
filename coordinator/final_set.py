"""Sparse graph: the step between agreeing and opening, in which all members sign the one final set of a round."""

from __future__ import annotations

from coordinator.gather import Gatherer, Silence
from secagg import coordinator as protocol


def collect_signatures(
    agreeing: protocol.Agreeing, gatherer: Gatherer
) -> tuple[protocol.Settling, dict[str, bytes], dict[str, Silence]]:
    """Asks every member to sign the set that all of them agreed to; a threshold of signatures goes on without the rest.

    Returns:
        The set with its signatures; the request of each member that did not answer, for it still opens once it has signed;
        why these did not.
    """
    settling, requests = protocol.request_signatures(agreeing)
    threshold = agreeing.uploading.session.desk.params.threshold
    for hospital in sorted(requests):
        gatherer.ask(hospital, requests[hospital])

    def take(hospital: str, kind: str, message: bytes) -> bool:
        nonlocal settling
        if kind == "set_signature":
            settling = protocol.add_signature(settling, hospital, message)
        return kind == "set_signature"

    silent = gatherer.gather(
        "sign",
        frozenset(requests),
        take,
        enough=lambda: len(settling.agreeing.signatures) >= threshold,
        round_number=agreeing.uploading.frame.round,
    )
    late = {hospital: requests[hospital] for hospital in protocol.missing_signatures(settling)}
    return settling, late, silent
