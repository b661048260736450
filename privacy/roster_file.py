"""`enrolment.json`, `roster.json` and the signature files that go between hospital and coordinator while a consortium forms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class TrustedRoster:
    """A roster that every hospital signed, and the certificates it pins.

    `signed` is secagg's SignedRoster (already verified), `certificates` maps member id to certificate PEM.
    """

    signed: Any
    certificates: Mapping[str, bytes]
