"""How a hospital calls its coordinator over gRPC: set up for TLS 1.3 alone, with the coordinator's certificate as the only one that is trusted."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

from hospital_node.proxy_route import is_loopback
from privacy.link.certificates import tls_name
from privacy.link.member_keys import MemberKeys
from privacy.link.transport_rules import (
    CIPHER_SUITES,
    CLIENT_OPTIONS,
    METHOD,
    SERVICE,
    grpc_environment,
)

# gRPC reads it when it is first imported, whoever imports it.
GRPC_CAME_FIRST = "grpc" in sys.modules and os.environ.get("GRPC_SSL_CIPHER_SUITES") != CIPHER_SUITES
os.environ.update(grpc_environment(os.environ))
import grpc  # noqa: E402


def channel_arguments(
    host: str, port: int, keys: MemberKeys, root: bytes
) -> tuple[str, grpc.ChannelCredentials, tuple[tuple[str, int | str], ...]]:
    """What gRPC is given for a channel to the coordinator: target, credentials, options.

    Args:
        root: the coordinator's certificate (PEM), the only one that is trusted.

    Raises:
        ImportError: gRPC was imported too early to be told of TLS 1.3 alone.
    """
    if GRPC_CAME_FIRST:
        raise ImportError(
            "grpc was imported before hospital_node.channel and would take up TLS 1.2: import hospital_node.channel first."
        )
    target = f"dns:///[{host}]:{port}" if ":" in host else f"dns:///{host}:{port}"
    credentials = grpc.ssl_channel_credentials(root, keys.tls_private.reveal(), keys.certificate_pem)
    options = (
        *CLIENT_OPTIONS,
        ("grpc.ssl_target_name_override", tls_name("coordinator")),
        ("grpc.enable_http_proxy", 0 if is_loopback(host) else 1),
    )
    return target, credentials, options


def printable(said: str | None) -> str:
    """A sentence that came over the network and goes to a terminal."""
    return "".join(c if c.isprintable() else " " for c in said or "")[:500]


@dataclass(frozen=True, slots=True)
class Reply:
    """How one call ended: the name of gRPC's status, the sentence that came with it, all that came."""

    status: str
    said: str
    frame: bytes


def ask_once(host: str, port: int, keys: MemberKeys, root: bytes, frame: bytes, within_s: float) -> Reply:
    """One frame to the coordinator over a connection of its own, and what comes back; arguments as `channel_arguments` takes them."""
    with grpc.secure_channel(*channel_arguments(host, port, keys, root)) as channel:
        call = channel.stream_stream(f"/{SERVICE}/{METHOD}")(iter([frame]), timeout=within_s)
        came = b""
        try:
            for part in call:
                if came:
                    # An answer is one frame; who sends on could fill the memory.
                    call.cancel()
                    return Reply("OK", "", came)
                came = part
        except grpc.RpcError as problem:
            return Reply(problem.code().name, printable(problem.details()), b"")
        return Reply(call.code().name, printable(call.details()), came)
