"""Why the hospital does not reach its coordinator, found by trying step by step what gRPC reports in one word."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime

from hospital_node.connect_problem import ConnectProblem as ConnectProblem
from hospital_node.proxy_route import route_to
from hospital_node.reach import dial, judge_certificate, judge_protocol, resolve, shake_hands
from privacy.link.certificates import CertificateProblem, check_valid_at, fingerprint_groups
from privacy.link.member_keys import MemberKeys
from privacy.link.transport_rules import Pin


def check_own(keys: MemberKeys, pins: Mapping[bytes, Pin], now: datetime) -> None:
    """What can be known before dialing. Raises ConnectProblem (own_certificate)."""
    pin = pins.get(keys.certificate.sha256)
    if pin is None or pin.member != keys.id:
        raise ConnectProblem(
            "own_certificate",
            f"The keys of {keys.id} on this machine are not in the roster",
            "enrol them and have the new roster signed",
            fatal=True,
        )
    if pin.role != "hospital":
        raise ConnectProblem(
            "own_certificate",
            f"{keys.id} is in the roster as {pin.role}",
            "a hospital's link needs a hospital's keys",
            fatal=True,
        )
    try:
        check_valid_at(keys.certificate, now, f"this hospital ({keys.id})")
    except CertificateProblem as problem:
        raise ConnectProblem("own_certificate", str(problem), fatal=True) from problem


def diagnose(
    host: str, port: int, keys: MemberKeys, pins: Mapping[bytes, Pin], now: datetime
) -> ConnectProblem:
    """The first step that fails on the way to the coordinator, with its remedy; it takes at most a few seconds."""
    route = route_to(host, port, os.environ)
    try:
        resolve(route)
        with dial(route) as raw:
            shown = shake_hands(route.where, raw)
        judge_certificate(route.where, shown, pins, now)
        judge_protocol(route.where, shown)
    except ConnectProblem as problem:
        return problem
    return own_refused(route.where, keys)


def own_refused(where: str, keys: MemberKeys) -> ConnectProblem:
    """What is left when every other step holds and the coordinator hangs up all the same; gRPC's server does not say why."""
    return ConnectProblem(
        "own_certificate_refused",
        f"The coordinator at {where} closed the connection on seeing the certificate of {keys.id}",
        "its roster does not hold it, or its clock says that it expired; compare over the phone, "
        f"{fingerprint_groups(keys.certificate.sha256)}",
    )
