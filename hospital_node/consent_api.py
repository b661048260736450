"""The consent register over HTTP on this machine alone, for the hospital's own consent system.

Loopback only, a bearer token from a file, small JSON bodies, one answer shape for every mistake. A request that names
another host is refused, so that no web page can reach the register through a browser on this machine.
"""

import hmac
import json
import re
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from hospital_node.consent_openapi import openapi
from hospital_node.consent_store import ConsentStore, RegisterUnreadable
from privacy.patients.consent import EVERYTHING, ConsentError, Entry, Terms

LOOPBACK = "127.0.0.1"
MAXIMUM_BODY_BYTES = 64 << 10
MINIMUM_TOKEN_CHARACTERS = 16
_PATIENT = re.compile(r"^/consents/([0-9a-f]{64})(/revoke)?$")


class TokenFileError(Exception):
    """The file with the token cannot be used."""

    exit_code: ClassVar[int] = 2


def read_token(path: Path) -> str:
    """The token in a file that only its owner can read.

    Raises:
        TokenFileError: others can read it, or the token is short or no plain text.
    """
    try:
        lax, token = path.stat().st_mode & 0o077, path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise TokenFileError(f"{path}: is no readable file of plain text") from None
    if lax or len(token) < MINIMUM_TOKEN_CHARACTERS or not token.isprintable():
        raise TokenFileError(
            f"{path}: needs mode 0600 and a token of at least {MINIMUM_TOKEN_CHARACTERS} characters"
        )
    return token


class ConsentServer(ThreadingHTTPServer):
    """One register behind one token; `serve_forever` until `shutdown`."""

    daemon_threads = True

    def __init__(self, store: ConsentStore, token: str, port: int) -> None:
        """Bind the port on loopback; 0 chooses a free one."""
        super().__init__((LOOPBACK, port), _Handler)
        self.store, self.token = store, token

    @property
    def port(self) -> int:
        """The port that was bound."""
        return int(self.server_address[1])


class _Refusal(Exception):
    """An answer that is no success."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    server: ConsentServer
    timeout = 10
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "wardround", ""

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the library refuses by itself (another method, a line that is no request), in the same shape."""
        self.close_connection = True
        self.command = self.command or ""
        self._send(405 if code == 501 else code, {"error": message or "refused"})

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line of the log would hold pseudonyms."""

    def _answer(self) -> None:
        # The body is read before anything is refused, so that a kept connection stays in step.
        try:
            body = self._body()
            status, answer = self._route(body)
        except _Refusal as refusal:
            status, answer = refusal.status, {"error": str(refusal)}
        except ConsentError as error:
            status, answer = 422, {"error": error.problem}
        except RegisterUnreadable:
            status, answer = 503, {"error": "the register cannot be read; until it can, nobody takes part"}
        self._send(status, answer)

    def _send(self, status: int, answer: Any) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        if status == 401:
            self.send_header("WWW-Authenticate", "Bearer")
        if status == 405:
            self.send_header("Allow", _allowed(getattr(self, "path", "")))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _body(self) -> bytes:
        length = self.headers.get("Content-Length", "0")
        if self.headers.get("Transfer-Encoding") or not length.isdecimal():
            self.close_connection = True
            raise _Refusal(411, "send the body with its length")
        if int(length) > MAXIMUM_BODY_BYTES:
            self.close_connection = True
            raise _Refusal(413, "the body is too large")
        return self.rfile.read(int(length))

    def _route(self, body: bytes) -> tuple[int, Any]:
        host = self.headers.get("Host", "")
        if host.rpartition(":")[0] not in (LOOPBACK, "localhost"):
            raise _Refusal(421, "this register answers on loopback only")
        if self.command == "GET" and self.path == "/openapi.json":
            return 200, openapi()
        given = self.headers.get("Authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, f"Bearer {self.server.token}".encode()):
            raise _Refusal(401, "send the token: Authorization: Bearer ...")
        one = _PATIENT.match(self.path)
        if self.command == "POST" and self.path == "/consents":
            return 201, self._grant(_object(body))
        if self.command == "GET" and one and not one.group(2):
            return 200, self._shown(one.group(1))
        if self.command == "POST" and one and one.group(2):
            return 201, self._revoke(one.group(1), _object(body) if body else {}, body)
        if self.path == "/consents" or one:
            raise _Refusal(405, "this address takes another method")
        raise _Refusal(404, "no such address; see /openapi.json")

    def _grant(self, body: Mapping[str, Any]) -> Any:
        patient = body.get("patient")
        if not isinstance(patient, str) or not patient.strip():
            raise ConsentError("", "patient is missing")
        if not _is_text(patient):
            raise ConsentError("", "patient is no text in UTF-8")
        terms = Terms.from_json({key: value for key, value in body.items() if key != "patient"})
        pseudonym = self.server.store.key.pseudonym(patient)
        self.server.store.append([(pseudonym, terms)], json.dumps(body, sort_keys=True).encode())
        return {"pseudonym": pseudonym}

    def _revoke(self, pseudonym: str, body: Mapping[str, Any], raw: bytes) -> Any:
        if not self.server.store.entries(pseudonym):
            raise _Refusal(404, "no record for this pseudonym")
        terms = Terms.from_json({"purpose": EVERYTHING, "reason": "withdrawn", **body, "decision": "deny"})
        self.server.store.append([(pseudonym, terms)], raw)
        return {"pseudonym": pseudonym}

    def _shown(self, pseudonym: str) -> Any:
        entries = self.server.store.entries(pseudonym)
        if not entries:
            raise _Refusal(404, "no record for this pseudonym")
        return {"pseudonym": pseudonym, "entries": [entry_json(entry) for entry in entries]}


def entry_json(entry: Entry) -> dict[str, object]:
    """One entry as the API and the command show it."""
    return {
        "seq": entry.seq,
        "recorded": entry.recorded,
        "source_sha256": entry.source,
        "supersedes": entry.supersedes,
        **entry.terms.to_json(),
    }


def _allowed(path: str) -> str:
    """The method of an address, for whoever used another."""
    one = _PATIENT.match(path)
    if one is None:
        return "POST" if path == "/consents" else "GET"
    return "POST" if one.group(2) else "GET"


def _is_text(value: str) -> bool:
    """False for half a surrogate pair, which JSON can spell and nothing can store."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ConsentError("", "the body is one JSON object")
    return found
