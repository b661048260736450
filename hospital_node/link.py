"""The hospital's end of the link: dials out, keeps one mutual-TLS gRPC stream, reconnects.

`on_message` and `on_connect` run in the thread that called `run`. `on_connect` runs on the first connection and whenever the coordinator's process
is a new one; after a mere cut the link resumes and nothing is sent or handled twice. What `on_message` yields is sent as it is yielded; what it
yields in answer to a coordinator process that is gone meanwhile is dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable

from privacy.member_keys import MemberKeys
from privacy.roster_file import TrustedRoster


class ConnectProblem(Exception):
    """Why the hospital is not connected, in one sentence with the remedy.

    `kind` is one of name_resolution, port_closed, not_tls, wrong_coordinator, coordinator_expired, own_certificate, unknown_to_coordinator,
    replaced, refused, silent, lost. `fatal` says that waiting cannot help.
    """

    def __init__(self, kind: str, sentence: str, *, fatal: bool = False) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.sentence = sentence
        self.fatal = fatal


class LinkClient:
    """Connects to the coordinator at `address` ("host:port")."""

    def __init__(
        self,
        address: str,
        keys: MemberKeys,
        roster: TrustedRoster,
        *,
        on_problem: Callable[[ConnectProblem], None] | None = None,
        patience_s: float | None = None,
    ) -> None:
        raise NotImplementedError

    def run(
        self,
        on_message: Callable[[bytes], Iterable[bytes]],
        on_connect: Callable[[], Iterable[bytes]],
        stop: threading.Event,
    ) -> None:
        """Serve until `stop` is set; everything yielded before is flushed for at most a few seconds.

        Raises ConnectProblem when it is fatal or when there was no connection for `patience_s` seconds (None: wait for ever).
        """
        raise NotImplementedError
