"""Which way gRPC takes out of a hospital: through a proxy or not, by the variables that it reads itself.

Source: gRPC core, `http_proxy_mapper.cc`: grpc_proxy, https_proxy, http_proxy, in lower case, the first that is there; only proxies
spoken to by http; no_grpc_proxy or else no_proxy, whose entries are ends of names, or networks where the address is a number.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, unquote, urlsplit

PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")
EXCEPTION_VARIABLES = ("no_grpc_proxy", "no_proxy")
# Of a proxy that is named without one: gRPC takes the port of https.
DEFAULT_PORT = 443
NOT_SHOWN = "(not shown, it may hold a part of a password)"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy that is asked to CONNECT.

    Attributes:
        variable: of the environment that names it.
        shown: its address for a person; not what may be a part of a password.
        authorization: value of the header Proxy-Authorization; empty without credentials.
    """

    variable: str
    host: str
    port: int
    shown: str
    authorization: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Route:
    """How a coordinator is reached.

    Attributes:
        host, port: the coordinator's.
        proxy: what lies between; None for a direct connection.
        why: which variable decided, for a person; no address of a proxy's user.
        doubt: what in the environment is not read as its author may think; empty without a doubt.
    """

    host: str
    port: int
    proxy: Proxy | None
    why: str
    doubt: str = ""

    @property
    def where(self) -> str:
        """The coordinator's address, as one types it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def first_hop(self) -> tuple[str, int]:
        """Host and port that this machine itself connects to; a proxy looks up the coordinator's name by itself."""
        return (self.host, self.port) if self.proxy is None else (self.proxy.host, self.proxy.port)


def is_loopback(host: str) -> bool:
    """True for this machine's own names; they are never reached through a proxy."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def route_to(host: str, port: int, environment: Mapping[str, str]) -> Route:
    """The way to a coordinator, as gRPC would take it with this environment."""
    if is_loopback(host):
        return Route(host, port, None, "this machine itself, never through a proxy")
    name = next((name for name in PROXY_VARIABLES if name in environment), None)
    if name is None:
        shouted = next((n.upper() for n in PROXY_VARIABLES if environment.get(n.upper())), "")
        doubt = f"{shouted} is set, and gRPC reads its name in lower case only" if shouted else ""
        return Route(host, port, None, "direct, no proxy is named", doubt)
    if not environment[name]:
        return Route(host, port, None, f"direct, {name} is empty")
    proxy = _parse(name, environment[name])
    if proxy is None:
        doubt = f"{name} is not of the form http://[user:password@]host:port, so that gRPC passes it over"
        return Route(host, port, None, "direct", doubt)
    exceptions = next((name for name in EXCEPTION_VARIABLES if name in environment), None)
    if exceptions is not None and _is_listed(host, environment[exceptions]):
        return Route(host, port, None, f"direct, {exceptions} lists {host}")
    why = f"through the proxy {proxy.shown} named in {name}"
    if proxy.shown != NOT_SHOWN:
        return Route(host, port, proxy, why)
    doubt = f"gRPC takes what stands in {name} before the first / ? or # for the proxy's address, and an @ follows behind it"
    return Route(host, port, proxy, why, f"{doubt}; a password writes those as %2F, %3F and %23")


def _parse(variable: str, address: str) -> Proxy | None:
    try:
        parts: SplitResult = urlsplit(address)
        host, port = parts.hostname, parts.port or DEFAULT_PORT
    except ValueError:
        return None
    if parts.scheme != "http" or not host or parts.netloc.count("@") > 1:
        return None
    user, at, _ = parts.netloc.rpartition("@")
    secret = f"Basic {base64.b64encode(unquote(user).encode()).decode()}" if at else ""
    # http://user:1234/5@host:port is a user's password to its author, and host and port "user:1234" to gRPC.
    cut = "@" in address.partition(parts.netloc)[2]
    return Proxy(variable, host, port, NOT_SHOWN if cut else f"{host}:{port}", secret)


def _is_listed(host: str, exceptions: str) -> bool:
    entries = [entry.strip() for entry in exceptions.split(",") if entry]
    return any(host.lower().endswith(entry.lower()) or _in_network(host, entry) for entry in entries)


def _in_network(host: str, entry: str) -> bool:
    if "/" not in entry:
        return False
    try:
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        return False
