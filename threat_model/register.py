"""The project's threat register, loaded and checked."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from privacy.assessment.threat_schema import Register


def register_bytes() -> bytes:
    """The register's file as it is in the package: what a bundle carries as ``evidence/threats.json``."""
    return files("threat_model").joinpath("register.json").read_bytes()


@cache
def load_register() -> Register:
    """The register as typed records.

    Raises:
        pydantic.ValidationError: an id is used twice, a reference does not resolve, or a field is missing.
    """
    return Register.model_validate_json(register_bytes())
