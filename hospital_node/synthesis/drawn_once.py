"""The noised sums of a synthesizer: drawn once for everything that this hospital ever makes of them.

RESERVE of each sum before it is computed, all four into one file, SPENT of each, and only then does anybody see a table. The file
is made and never replaced, so that two processes at once leave one drawing. Sums that the ledger says were spent
and that are not there are never drawn anew: the second drawing would be free.
"""

import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import ClassVar

import numpy as np

from hospital_node.ledger_store import LedgerStore
from privacy.guarantees.plan import DpPlan, Release
from privacy.ledgers.ledger import Entry, fold
from privacy.synthesis.request import SynthesisRequest
from privacy.synthesis.statistics import Statistics

# In place of a protocol session: no round belongs to it.
SYNTHESIS_SESSION = "synthesis"

Permitting = Callable[[Sequence[Entry]], object]
Measuring = Callable[[Callable[[Release], None]], Statistics]


class SumsLost(Exception):
    """The ledger says that the sums were drawn, and their file is missing or damaged."""

    exit_code: ClassVar[int] = 2

    def __init__(self, path: Path) -> None:
        """Name the file and the remedy."""
        super().__init__(
            f"{path}: the sums behind this synthetic table were drawn and are not readable; restore the file, because "
            "drawing them again is not paid for"
        )


def stored_at(folder: Path, request: SynthesisRequest) -> Path:
    """Where the sums of a request lie."""
    return folder / f"{request.hash}.synthesis.json"


def is_drawn(entries: Sequence[Entry], request: SynthesisRequest) -> bool:
    """Whether a part of this release was spent already, so that it is read and not drawn."""
    return "SPENT" in _states(entries, request).values()


def sums_once(
    request: SynthesisRequest,
    plan: DpPlan,
    measure: Measuring,
    folder: Path,
    ledger: LedgerStore,
    permit: Permitting,
) -> Statistics:
    """The noised sums; drawn and charged at the first call, read at every other.

    Args:
        request: what is released; equal ones are one drawing.
        plan: of the request.
        measure: looks at the patients; calls its argument with each release before anything of it is computed.
        folder: made where it does not exist, readable by its owner alone.
        ledger: charged before each sum.
        permit: sees all entries under the ledger's write lock before anything is charged; what it raises charges nothing.

    Raises:
        SumsLost: drawn already, and the file is gone.
    """
    path = stored_at(folder, request)
    number = {release.name: position for position, release in enumerate(plan.releases, start=1)}

    def pay(release: Release) -> None:
        ledger.reserve(
            study_hash=request.hash,
            study_id=request.id,
            session=SYNTHESIS_SESSION,
            round_number=number[release.name],
            release=release,
            permit=permit,
        )

    states = _states(ledger.entries(), request)
    if "SPENT" in states.values() or (len(states) == len(number) and path.exists()):
        sums = _read(path)
    else:
        sums = _stored(path, measure(pay))
    states = _states(ledger.entries(), request)
    for position in number.values():
        if states.get(position) == "RESERVE":
            ledger.spend(study_hash=request.hash, session=SYNTHESIS_SESSION, round_number=position)
    return sums


def _states(entries: Sequence[Entry], request: SynthesisRequest) -> dict[int, str]:
    return {
        number: state.kind
        for (study_hash, session, number), state in fold(entries).items()
        if (study_hash, session) == (request.hash, SYNTHESIS_SESSION)
    }


def _read(path: Path) -> Statistics:
    body: object = None
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        body = None
    names = {field.name for field in fields(Statistics)}
    if not isinstance(body, dict) or set(body) != names or not all(map(_is_vector, body.values())):
        raise SumsLost(path)
    return Statistics(**{name: np.array(values, dtype=np.float64) for name, values in body.items()})


def _is_vector(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, float) for value in values)


def _stored(path: Path, sums: Statistics) -> Statistics:
    """What the file holds from now on: these sums, or those that another process stored first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, beside = tempfile.mkstemp(dir=path.parent, prefix=".sums-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump({name: values.tolist() for name, values in asdict(sums).items()}, file)
            file.flush()
            os.fsync(file.fileno())
        # A link fails where the name is taken; a rename would replace what another process may have used.
        os.link(beside, path)
    except FileExistsError:
        return _read(path)
    finally:
        Path(beside).unlink(missing_ok=True)
    return sums
