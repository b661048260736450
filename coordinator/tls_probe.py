"""The coordinator's check of itself: its own port must not take up TLS 1.2.

gRPC reads the list of cipher suites when it is first imported, whoever imports it. If another package was first, the list came too late and
nothing says so; hence the port is tried before anybody is told of it.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress

PROBE_S = 5.0
_HANDSHAKE_RECORD = b"\x16"


async def speaks_tls_1_2(host: str, port: int) -> bool:
    """True if the port answers a TLS 1.2 greeting with one of its own.

    Raises:
        OSError: the port cannot be reached, or says nothing in time.
    """
    reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), PROBE_S)
    try:
        writer.write(_client_hello())
        # The record type: a server hello is a handshake record; a refusal is an alert or the end of the connection.
        return await asyncio.wait_for(reader.read(1), PROBE_S) == _HANDSHAKE_RECORD
    except ConnectionResetError:
        return False
    finally:
        writer.close()


def _client_hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    # No certificate is looked at: the connection ends after the first byte.
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing).do_handshake()
    return outgoing.read()
