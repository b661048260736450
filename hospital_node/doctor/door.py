"""Does the coordinator know this hospital? A question at its door, over gRPC as the link itself goes; a node that runs is left alone."""

from __future__ import annotations

from datetime import datetime, timedelta

from hospital_node.diagnosis import own_refused
from hospital_node.doctor.case import Case, Heard, held
from hospital_node.doctor.finding import Check, Finding, failed, ok, warn
from privacy.link.certificates import CLOCK_SKEW, Certificate, fingerprint_groups
from privacy.link.framing import VERSION, FrameError
from privacy.link.inquiry import INQUIRY, Standing
from privacy.link.release import installed_release
from secagg.params import PROTOCOL_VERSION

ANSWER_S = 5.0
# Of two clocks that are set by NTP.
SAME_TIME_S = 60.0


def look_at_admission(case: Case) -> Finding:
    # grpc takes half a second to import, and has to be set up before anybody does.
    from hospital_node.channel import ask_once

    keys, roster, route = held(case.keys), held(case.roster), held(case.route)
    root = roster.certificates[roster.roster.coordinator.id]
    started_s, asked = case.clock.monotonic_s(), case.clock.now()
    reply = ask_once(route.host, route.port, keys, root, INQUIRY, ANSWER_S)
    half_s = (case.clock.monotonic_s() - started_s) / 2
    match reply.status:
        case "OK" | "INVALID_ARGUMENT":
            # Admitted: only then is a first frame read, whether it is understood or not.
            try:
                standing = Standing.decode(reply.frame)
            except FrameError:
                standing = None
            case.heard = Heard(standing, asked + timedelta(seconds=half_s), half_s)
            return judge_standing(keys.id, standing)
        case "PERMISSION_DENIED":
            return failed(
                f"the coordinator says: {reply.said.rstrip('.')}",
                "compare both rosters and this hospital's certificate over the phone",
            )
        case "DEADLINE_EXCEEDED":
            return failed(
                f"the coordinator took the connection and did not answer within {ANSWER_S:g} s",
                "ask its operator whether its machine is overloaded; or a proxy in between holds HTTP/2 back",
            )
        case "UNAVAILABLE":
            raise own_refused(route.where, keys)
        case other:
            said = f": {reply.said.rstrip('.')}" if reply.said else ""
            return failed(f"the coordinator ended the question with {other}{said}", "ask its operator")


def judge_standing(hospital: str, standing: Standing | None) -> Finding:
    """Of an admitted hospital."""
    if standing is None:
        return warn(
            f"{hospital} is admitted; the coordinator does not know the doctor's question, so it runs another release",
            "install the same release on both sides",
        )
    if standing.connected:
        return ok(
            f"{hospital} is admitted, and a node of it is connected now (left alone); a second one would replace it"
        )
    return ok(f"{hospital} is admitted; no node of it is connected now")


def look_at_versions(case: Case) -> Finding:
    return judge_versions(held(case.heard).standing, installed_release())


def judge_versions(standing: Standing | None, release: str) -> Finding:
    """Args: `release` is the one installed here."""
    remedy = "install the same release on both sides"
    if standing is None:
        return warn("the coordinator does not say which it runs", remedy)
    pairs = (("the link", VERSION, standing.link), ("the protocol", PROTOCOL_VERSION, standing.protocol))
    for what, here, there in pairs:
        if here != there:
            return failed(
                f"version {here} of {what} here (wardround {release}), {there} at the coordinator (wardround {standing.release})",
                remedy,
            )
    if release != standing.release:
        return warn(f"wardround {release} here, {standing.release} at the coordinator", remedy)
    return ok(f"wardround {release}, link {VERSION}, protocol {PROTOCOL_VERSION} on both sides")


def look_at_rosters(case: Case) -> Finding:
    return judge_rosters(held(case.heard).standing, held(case.roster).roster.hash)


def judge_rosters(standing: Standing | None, own: bytes) -> Finding:
    """Args: `own` is the hash of the roster that this hospital signed."""
    if standing is None:
        return warn(
            "the coordinator does not say which roster it holds",
            "compare the rosters' fingerprints over the phone",
        )
    if standing.roster != own:
        return failed(
            f"the coordinator holds another roster ({fingerprint_groups(standing.roster)[:19]} ...) than this hospital "
            f"({fingerprint_groups(own)[:19]} ...), and every study would be refused",
            "whoever has the older one keeps the newest consortium.json that all signed: wardround-hospital enrol consortium.json --home {home}",
        )
    return ok(f"the same on both sides, {fingerprint_groups(own)[:19]} ...")


def look_at_clock(case: Case) -> Finding:
    own = None if case.keys is None else case.keys.certificate
    return judge_clock(case.clock.now(), own, case.heard)


def judge_clock(now: datetime, own: Certificate | None, heard: Heard | None) -> Finding:
    """Against the coordinator's clock where it told it, else only against when this hospital's keys were made."""
    remedy = "set both machines' clocks by NTP; which of the two is wrong cannot be seen from here"
    shown = f"{now:%Y-%m-%d %H:%M:%S} UTC here"
    if heard is not None and heard.standing is not None:
        ahead_s = heard.middle.timestamp() - heard.standing.clock_ms / 1000
        said = f"{shown}, {_span(abs(ahead_s))} {'ahead of' if ahead_s > 0 else 'behind'} the coordinator's clock"
        if abs(ahead_s) - heard.margin_s > CLOCK_SKEW.total_seconds():
            return failed(f"{said}, so that new certificates are refused", remedy)
        if abs(ahead_s) - heard.margin_s > SAME_TIME_S:
            return warn(said, remedy)
        return ok(
            f"{shown}, the coordinator's differs by less than {_span(abs(ahead_s) + heard.margin_s + 1)}"
        )
    if own is not None and now < own.not_before + CLOCK_SKEW:
        return failed(
            f"{shown}, which is before this hospital's keys were made ({own.not_before + CLOCK_SKEW:%Y-%m-%d %H:%M})",
            "set this machine's clock by NTP",
        )
    since = "" if own is None else ", later than this hospital's keys were made"
    return ok(f"{shown}{since}; not compared with the coordinator's, which did not tell it")


def _span(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


ADMISSION = Check(
    "admission",
    look_at_admission,
    needs=("certificates", "coordinator", "http2"),
    outside=True,
    limit_s=ANSWER_S + 2,
    remedy="ask the coordinator's operator",
)
VERSIONS = Check("versions", look_at_versions, needs=("admission",), outside=True)
ROSTERS = Check("same roster", look_at_rosters, needs=("admission",), outside=True)
CLOCK = Check("clock", look_at_clock)
