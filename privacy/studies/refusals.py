"""What a study file can be told: wrong, not built yet, or refused for good."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import ClassVar


class StudyError(Exception):
    """A study file that cannot be used; one sentence that says where, what and the remedy.

    Attributes:
        where: file name and place in it.
        problem: what is wrong and what to do about it.
        exit_code: 2, bad input.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, where: str, problem: str) -> None:
        """Keep both parts; the message is "where: problem"."""
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


class NotBuilt(StudyError):
    """The study asks for something that is designed but not built yet."""


class RefusedModel(StudyError):
    """The study asks for a model that cannot be trained under differential privacy."""

    exit_code: ClassVar[int] = 1


def nearest(word: str, known: Iterable[str]) -> str:
    """A clause that helps somebody who mistyped `word`: the nearest known word, or all of them."""
    choices = sorted(known)
    close = get_close_matches(word, choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean '{close[0]}'?"
    return f"known here: {', '.join(choices)}"
