"""The way that gRPC takes by its environment; `tests/process/test_doctor.py` compares with gRPC itself."""

from __future__ import annotations

import pytest

from hospital_node import reach
from hospital_node.connect_problem import ConnectProblem
from hospital_node.proxy_route import DEFAULT_PORT, route_to
from hospital_node.reach import resolve

PROXY = "http://proxy.corp:3128"


@pytest.mark.parametrize(
    ("host", "environment", "through"),
    [
        ("10.1.2.3", {"https_proxy": PROXY, "no_proxy": "10.1.0.0/16"}, False),
        ("10.2.2.3", {"https_proxy": PROXY, "no_proxy": "10.1.0.0/16"}, True),
        ("fd00::7", {"https_proxy": PROXY, "no_proxy": "fd00::/8"}, False),
        ("coordinator.test", {"https_proxy": PROXY, "no_proxy": "10.1.0.0/16, nonsense/99"}, True),
        ("127.0.0.1", {"https_proxy": PROXY}, False),
        ("localhost", {"https_proxy": PROXY}, False),
        ("coordinator.test", {"https_proxy": "http://proxy.corp:port"}, False),
        ("coordinator.test", {"https_proxy": "http://a@b@proxy.corp:1"}, False),
    ],
)
def test_networks_and_this_machine(host: str, environment: dict[str, str], through: bool) -> None:
    assert (route_to(host, 7443, environment).proxy is not None) == through


def test_what_is_written_wrong_is_doubted() -> None:
    for environment in ({"https_proxy": "proxy.corp:3128"}, {"HTTPS_PROXY": PROXY}):
        assert route_to("coordinator.test", 7443, environment).doubt
    assert not route_to("coordinator.test", 7443, {}).doubt


def test_the_password_of_a_proxy_is_not_shown() -> None:
    route = route_to("coordinator.test", 7443, {"http_proxy": "http://operator:ge%20heim@proxy.corp"})
    assert route.proxy is not None
    assert (route.proxy.host, route.proxy.port, route.first_hop) == (
        "proxy.corp",
        DEFAULT_PORT,
        ("proxy.corp", DEFAULT_PORT),
    )
    assert route.proxy.authorization == "Basic b3BlcmF0b3I6Z2UgaGVpbQ=="
    assert "heim" not in repr(route) + route.why
    assert route.proxy.authorization not in repr(route)


@pytest.mark.parametrize("password", ["4173/geheim", "4173?geheim", "/geheim", "4173#x"])
def test_what_may_be_a_part_of_a_password_is_not_shown(password: str) -> None:
    route = route_to("coordinator.test", 7443, {"https_proxy": f"http://operator:{password}@proxy.invalid:1"})
    assert route.proxy is not None
    assert route.proxy.host == "operator"
    with pytest.raises(ConnectProblem) as problem:
        resolve(route)
    for said in (route.why, route.doubt, str(problem.value), str(reach._not_reached(route, OSError()))):
        assert "4173" not in said
        assert "operator" not in said
        assert "geheim" not in said
    assert "%2F" in route.doubt


def test_an_address_of_version_6_is_shown_as_it_is_typed() -> None:
    assert route_to("fd00::7", 7443, {}).where == "[fd00::7]:7443"
