"""What stands in a hospital's way in the doctor's tests: servers that are no coordinator, and a proxy that takes CONNECT."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def server(answer: Callable[[socket.socket], None]) -> Iterator[str]:
    """Address of a port where every connection is handed to `answer` in a thread of its own."""
    listener = socket.create_server(("127.0.0.1", 0))
    open_ones: list[socket.socket] = []

    def serve(peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer:
            answer(peer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                open_ones.append(peer)
                threading.Thread(target=serve, args=(peer,), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for peer in open_ones:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)


def silent(peer: socket.socket) -> None:
    """Takes everything and says nothing."""
    while peer.recv(4096):
        pass


def web(peer: socket.socket) -> None:
    """A server without TLS."""
    peer.recv(4096)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\nno\n")


def tls(folder: Path, *, newest: ssl.TLSVersion, protocol: str) -> Callable[[socket.socket], None]:
    """A TLS server with the keys in `folder` that says nothing after its handshake; `protocol` "" takes up none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = newest
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    if protocol:
        context.set_alpn_protocols([protocol])

    def answer(peer: socket.socket) -> None:
        with context.wrap_socket(peer, server_side=True) as wrapped:
            while wrapped.recv(4096):
                pass

    return answer


class Connecting:
    """A proxy: leads every CONNECT to `target`, whatever name was asked for, or answers with `status`; `asked` holds the requests' heads."""

    def __init__(self, target: str = "", status: str = "200 OK") -> None:
        self.target, self.status = target, status
        self.asked: list[bytes] = []

    def __call__(self, peer: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += peer.recv(1) or b"\r\n\r\n"
        self.asked.append(head)
        if not self.status.startswith("2"):
            peer.sendall(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
            return
        host, port = self.target.split(":")
        with socket.create_connection((host, int(port))) as far:
            peer.sendall(f"HTTP/1.1 {self.status}\r\n\r\n".encode())
            back = threading.Thread(target=_pump, args=(far, peer), daemon=True)
            back.start()
            _pump(peer, far)
            back.join()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(65536):
            sink.sendall(block)
        sink.shutdown(socket.SHUT_WR)
