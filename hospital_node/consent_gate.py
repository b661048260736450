"""Who of a study's patients permits it, asked at the snapshot and again before every round.

The register is opened anew each time, so that a withdrawal holds from the next round on. A register that cannot be read
permits nobody: the round goes on with nobody in it, noised as ever, and outside nothing looks different.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hospital_node.clock import Clock
from hospital_node.consent_store import ConsentStore, RegisterPlace, RegisterUnreadable, load_key
from privacy.patients.consent import DataUse, decide


@dataclass(frozen=True, slots=True)
class ConsentGate:
    """One study's question to the register.

    Attributes:
        place: of the register; None where the hospital has none, and then nobody permits.
        use: what the study is for.
        clock: the day on which a permission must hold.
    """

    place: RegisterPlace | None
    use: DataUse
    clock: Clock

    def pseudonyms(self, patients: Sequence[str]) -> tuple[str, ...]:
        """One a patient; "" for each where there is no key."""
        try:
            if self.place is not None:
                key = load_key(self.place.key)
                return tuple(key.pseudonym(patient) for patient in patients)
        except RegisterUnreadable:
            pass
        return ("",) * len(patients)

    def permitted(self, pseudonyms: Sequence[str]) -> tuple[NDArray[np.bool_], str]:
        """Who permits the use today, (n,), and why nobody does where the register cannot be read."""
        nobody = np.zeros(len(pseudonyms), dtype=np.bool_)
        if self.place is None:
            return nobody, "the policy asks for a consent register and there is none"
        try:
            with ConsentStore(self.place, self.clock) as store:
                held = store.of_many(pseudonyms)
        except RegisterUnreadable as error:
            return nobody, str(error)
        today = self.clock.now().date()
        answers = [bool(p) and decide(held[p], self.use, today).permitted for p in pseudonyms]
        return np.array(answers, dtype=np.bool_), ""


def forget(reports: Path, study_id: str, before_round: int) -> None:
    """Delete what this study left at the hospital about the set of patients that took part before a round."""
    for kind in ("stage", "synthetic"):
        (reports / f"{study_id}.{kind}.json").unlink(missing_ok=True)
    for path in (reports / "releases").glob(f"{study_id}-*.bin"):
        number = path.stem.removeprefix(f"{study_id}-")
        if number.isdecimal() and int(number) < before_round:
            path.unlink()
