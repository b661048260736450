"""The threat register as typed records: who attacks what, which control answers, how one would know.

The register lives in ``threat_model/register.json``; a bundle carries a copy as ``evidence/threats.json``, so that an
assessment can be verified without the package that wrote it.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Sentence = Annotated[str, Field(min_length=3)]

#: Where a control is on: always; with a privacy mode other than none; behind an anonymization stage; between
#: processes over a network; or nowhere yet.
OnWhen = Literal["always", "dp", "stage", "network", "hospital", "not_built"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Adversary(_Record):
    """Who attacks, with which means, and what lies outside them."""

    id: str = Field(pattern="^ADV-[A-Z]+$")
    name: Sentence
    can: Sentence
    cannot: str


class Asset(_Record):
    """What is worth protecting, and who holds it."""

    id: str = Field(pattern="^AS-[A-Z]+$")
    name: Sentence
    held_by: Sentence
    why: Sentence


class Boundary(_Record):
    """A line between parties that do not trust each other, and what crosses it."""

    id: str = Field(pattern="^TB-[A-Z]+$")
    between: Sentence
    crosses: Sentence
    protection: Sentence


class Assumption(_Record):
    """What must be true for the guarantees to hold, and what is lost if it is not."""

    id: str = Field(pattern="^A-[A-Z-]+$")
    text: Sentence
    if_false: Sentence
    checked_by: Sentence


class NonGoal(_Record):
    """What the system does not give, and what a reader should expect instead."""

    id: str = Field(pattern="^NG-[A-Z]+$")
    text: Sentence
    instead: Sentence


class Control(_Record):
    """A measure: where it is in the code, which setting turns it on, which tests fail without it."""

    id: str = Field(pattern="^C-[A-Z]+$")
    title: Sentence
    code: tuple[str, ...]
    setting: str
    on_when: OnWhen
    tests: tuple[str, ...]

    @model_validator(mode="after")
    def _built_controls_have_code(self) -> Self:
        if (self.on_when == "not_built") != (not self.code):
            raise ValueError(f"{self.id}: a control has code exactly when it is built")
        if self.on_when == "not_built" and self.tests:
            raise ValueError(f"{self.id}: a control that is not built cannot name a test")
        return self


class Threat(_Record):
    """One way to do harm. ``classes`` are STRIDE letters and LINDDUN codes, ``refs`` ATLAS, NIST, papers, laws."""

    id: str = Field(pattern="^FL-[0-9]{2}$")
    title: Sentence
    classes: tuple[str, ...]
    refs: tuple[str, ...]
    adversaries: tuple[str, ...] = Field(min_length=1)
    attack: Sentence
    precondition: Sentence
    controls: tuple[str, ...] = Field(min_length=1)
    counts_as_evidence: Sentence
    residual: Sentence
    priority: Literal["must", "should"]


class Register(_Record):
    """The whole threat model; ids are distinct and every reference resolves."""

    version: Literal["1.0"]
    adversaries: tuple[Adversary, ...]
    assets: tuple[Asset, ...]
    boundaries: tuple[Boundary, ...]
    assumptions: tuple[Assumption, ...]
    non_goals: tuple[NonGoal, ...]
    controls: tuple[Control, ...]
    threats: tuple[Threat, ...]

    @model_validator(mode="after")
    def _references_resolve(self) -> Self:
        for group in (self.adversaries, self.assets, self.boundaries, self.assumptions, self.non_goals):
            _distinct([item.id for item in group])
        control_ids = _distinct([control.id for control in self.controls])
        adversary_ids = {adversary.id for adversary in self.adversaries}
        _distinct([threat.id for threat in self.threats])
        for threat in self.threats:
            unknown = (set(threat.controls) - control_ids) | (set(threat.adversaries) - adversary_ids)
            if unknown:
                raise ValueError(
                    f"{threat.id} names {', '.join(sorted(unknown))}, which the register does not define"
                )
        idle = control_ids - {name for threat in self.threats for name in threat.controls}
        if idle:
            raise ValueError(f"no threat uses the controls {', '.join(sorted(idle))}")
        return self

    def control(self, identifier: str) -> Control:
        """The control with this id; KeyError where there is none."""
        for control in self.controls:
            if control.id == identifier:
                return control
        raise KeyError(identifier)


def _distinct(identifiers: list[str]) -> set[str]:
    twice = {identifier for identifier in identifiers if identifiers.count(identifier) > 1}
    if twice:
        raise ValueError(f"ids used twice: {', '.join(sorted(twice))}")
    return set(identifiers)
