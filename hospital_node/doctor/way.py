"""Is there a way to the coordinator: proxy, name, port, TLS, HTTP/2? The steps are those of the link's own diagnosis."""

from __future__ import annotations

from hospital_node import reach
from hospital_node.doctor.case import Case, held
from hospital_node.doctor.finding import Check, Finding, not_asked, ok, warn
from hospital_node.proxy_route import Route, route_to
from privacy.link.transport_rules import split_address


def look_at_route(case: Case) -> Finding:
    if case.coordinator is None:
        return not_asked(
            "no --coordinator was given", "give --coordinator host:port to have the way to it tried"
        )
    host, port = split_address(case.coordinator)
    case.route = route_to(host, port, case.environment)
    return judge_route(case.route)


def judge_route(route: Route) -> Finding:
    """Which way gRPC takes, and whether somebody meant another."""
    if route.doubt:
        return warn(
            f"{route.why}: {route.doubt}",
            "if there is a proxy, name it so: export https_proxy=http://host:port; else clear the variable",
        )
    return ok(f"{route.where}: {route.why}")


def look_at_name(case: Case) -> Finding:
    route = held(case.route)
    addresses = reach.resolve(route)
    whose = "the proxy's name" if route.proxy is not None else route.host
    return ok(f"{whose} is {', '.join(addresses[:3])}")


def look_at_port(case: Case) -> Finding:
    route = held(case.route)
    reach.dial(route).close()
    through = " through the proxy" if route.proxy is not None else ""
    return ok(f"{route.where} takes a connection{through}")


def look_at_tls(case: Case) -> Finding:
    route = held(case.route)
    with reach.dial(route) as raw:
        case.shown = reach.shake_hands(route.where, raw)
    return ok(f"{route.where} speaks TLS 1.3")


def look_at_protocol(case: Case) -> Finding:
    reach.judge_protocol(held(case.route).where, held(case.shown))
    return ok("HTTP/2 is spoken all the way")


def look_at_certificate(case: Case) -> Finding:
    certificate = reach.judge_certificate(
        held(case.route).where, held(case.shown), held(case.roster).pins(), case.clock.now()
    )
    return ok(
        f"the certificate is the one that the roster names (SHA-256 {certificate.sha256.hex()[:16]}...)"
    )


ROUTE = Check("route", look_at_route, remedy="write host:port, for instance coordinator.example.org:7443")
NAME = Check(
    "name",
    look_at_name,
    needs=("route",),
    outside=True,
    remedy="this machine's DNS does not answer; ask whoever runs it",
)
PORT = Check(
    "port", look_at_port, needs=("name",), outside=True, remedy="have the firewall allow this outbound port"
)
TLS = Check("tls", look_at_tls, needs=("port",), outside=True, remedy="check the port")
HTTP2 = Check("http2", look_at_protocol, needs=("tls",), outside=True)
CERTIFICATE = Check(
    "coordinator",
    look_at_certificate,
    needs=("roster", "tls"),
    outside=True,
    remedy="ask the coordinator, and compare both clocks",
)
