"""A finished model as a file (`model.json`) and what it says about a patient: survival curves.

Everything in it is either public or was released by the study, so the file may go wherever the result may go.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from pydantic import ValidationError

from privacy.link.canonical import NotCanonicalError, canonical, parse_canonical
from privacy.patients.dictionary import Dictionary
from privacy.studies.agreement import Agreement
from privacy.studies.grid import FloatArray
from privacy.studies.layout import Layout, LayoutError

MODEL_VERSION = 1
MAX_MODEL_BYTES = 64 << 20
MAX_MODEL_VALUES = 4 << 20
# Predictors beyond this are certain death or certain life in double precision anyway.
_LARGEST_PREDICTOR = 30.0


class ModelFileError(ValueError):
    """A model file that cannot be used; the sentence says which part and what to do."""


def layout_of(agreement: Agreement) -> Layout:
    """The meaning of the model's coordinates in a study."""
    return Layout(agreement.study.intervals, agreement.columns, agreement.training.hidden)


@dataclass(frozen=True, slots=True)
class TrainedModel:
    """A model with all that is needed to apply it to new patients.

    Attributes:
        study_hash: SHA-256 of the agreement it was trained under, hexadecimal.
        layout: meaning of the parameters.
        dictionary: how a patient becomes a row of the design matrix.
        times_days: (K + 1,) boundaries of the intervals.
        theta: (dim,) parameters.
    """

    study_hash: str
    layout: Layout
    dictionary: Dictionary
    times_days: FloatArray
    theta: FloatArray

    @classmethod
    def of(cls, agreement: Agreement, theta: FloatArray) -> Self:
        """The model of a study's last round.

        Raises:
            LayoutError: theta is not of this study's model.
        """
        layout = layout_of(agreement)
        times = np.asarray(agreement.times_days, dtype=np.float64)
        return cls(agreement.hash, layout, agreement.study.dictionary, times, layout.checked(theta))

    def risk(self, x: FloatArray) -> FloatArray:
        """Log relative hazard, shape (n,), of patients with design matrix x (n, d)."""
        return self.layout.risk(self.theta, x)

    def survival(self, x: FloatArray, times_days: FloatArray) -> FloatArray:
        """Probability to be free of the event at each time, shape (n, len(times_days)), in [0, 1].

        The hazard is constant within an interval; beyond the horizon nothing is known and the curve stays flat.
        """
        start, end = self.times_days[:-1], self.times_days[1:]
        share = np.clip((times_days[:, None] - start) / (end - start), 0.0, 1.0)
        predictor = np.minimum(self.layout.alpha(self.theta) + self.risk(x)[:, None], _LARGEST_PREDICTOR)
        return np.asarray(np.exp(-np.exp(predictor) @ share.T), dtype=np.float64)

    def to_bytes(self) -> bytes:
        """Canonical JSON, the content of `model.json`."""
        return canonical(
            {
                "version": MODEL_VERSION,
                "study_hash": self.study_hash,
                "family": _family(self.layout),
                "hidden": list(self.layout.hidden),
                "names": list(self.layout.names),
                "fields": self.dictionary.model_dump(mode="json")["fields"],
                "times_days": self.times_days.tolist(),
                "parameters": self.theta.tolist(),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Inverse of `to_bytes`.

        Raises:
            ModelFileError: not such a file, of another version, or its parts contradict each other.
        """
        try:
            body = parse_canonical(data, MAX_MODEL_BYTES, MAX_MODEL_VALUES)
            return cls._from_json(body if isinstance(body, Mapping) else {})
        except NotCanonicalError:
            problem = "is no canonical JSON; take model.json as the study wrote it"
        except ValidationError:
            problem = "has fields that are no data dictionary; take model.json as the study wrote it"
        except LayoutError:
            problem = "has parameters that do not fit its columns; take model.json as the study wrote it"
        raise ModelFileError(f"the model file {problem}")

    @classmethod
    def _from_json(cls, body: Mapping[str, Any]) -> Self:
        match body:
            case {
                "version": 1,
                "study_hash": str(study_hash),
                "family": str(family),
                "hidden": list(hidden),
                "names": list(names),
                "fields": list(fields),
                "times_days": list(times_days),
                "parameters": list(parameters),
                **rest,
            } if not rest and all(_is_number(value) for value in (*hidden, *times_days, *parameters)):
                dictionary = Dictionary(fields=tuple(fields))
                layout = Layout(
                    len(times_days) - 1, dictionary.columns(), tuple(int(width) for width in hidden)
                )
                theta = layout.checked(np.asarray(parameters, dtype=np.float64))
                times = np.asarray(times_days, dtype=np.float64)
                named = (family, names) == (_family(layout), list(layout.names))
                if named and times[0] == 0 and (np.diff(times) > 0).all():
                    return cls(study_hash, layout, dictionary, times, theta)
        raise ModelFileError(
            "the model file lacks a part or has an unknown one; take model.json as the study wrote it"
        )


def _family(layout: Layout) -> str:
    return "mlp" if layout.hidden else "piecewise_exponential"


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
