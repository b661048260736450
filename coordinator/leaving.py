"""Who leaves a proposed set when not everybody agrees to it."""

from __future__ import annotations

from dataclasses import replace

from coordinator.gather import Silence


def leave_the_set(
    silent: dict[str, Silence], proposed: frozenset[str], accusations: dict[str, int]
) -> dict[str, Silence]:
    """Who is left out of the next, smaller set.

    A hospital that found a bad share names the dealer: the dealer leaves and the reporter is asked again, so that one bad dealer does
    not cost everybody who notices. Every report takes one hospital out, so asking again comes to an end. Nobody but the two can see who
    is right: who accused alone before is left out itself, so that one liar does not keep others out of every sum.

    Args:
        silent: who did not agree, with the reason.
        proposed: the set they were asked about.
        accusations: by hospital, how often it accused alone in this session; counted on here.
    """
    leaving: dict[str, Silence] = {}
    against: dict[str, list[Silence]] = {}
    for silence in silent.values():
        if silence.kind == "abort" and silence.culprit in proposed - {silence.hospital}:
            against.setdefault(silence.culprit, []).append(silence)
        else:
            leaving[silence.hospital] = silence
    for accused, reports in against.items():
        first = reports[0]
        told = f"{', '.join(report.hospital for report in reports)} says: {first.reason}"
        if len(reports) == 1:
            accusations[first.hospital] = accusations.get(first.hospital, 0) + 1
            if accusations[first.hospital] > 1:
                again = f"it accuses {accused} alone, not for the first time: {first.reason}"
                leaving[first.hospital] = replace(first, kind="blaming", reason=again)
                continue
        leaving.setdefault(accused, Silence(accused, "agree", "blamed", told, first.hospital))
    return leaving
