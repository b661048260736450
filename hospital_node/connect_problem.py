"""Why a hospital is not connected: one sentence, what was found and what to do."""

from __future__ import annotations

from typing import Literal

Kind = Literal[
    "own_certificate",
    "name_resolution",
    "port_closed",
    "proxy",
    "not_tls",
    "no_http2",
    "wrong_coordinator",
    "coordinator_expired",
    "own_certificate_refused",
    "refused",
    "replaced",
    "lost",
]


class ConnectProblem(Exception):
    """Why the hospital is not connected; its text is `found`, a colon, and `remedy`.

    Attributes:
        found: what is the matter.
        remedy: what to do; empty where `found` says it.
        fatal: waiting cannot help.
    """

    exit_code = 3

    def __init__(self, kind: Kind, found: str, remedy: str = "", *, fatal: bool = False) -> None:
        super().__init__(f"{found}: {remedy}." if remedy else found)
        self.kind = kind
        self.found = found
        self.remedy = remedy
        self.fatal = fatal
