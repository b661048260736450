"""From ``pia.json`` to one self-contained page: inline style, inline SVG, no script, nothing to fetch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from math import ceil

from jinja2 import DictLoader, Environment, StrictUndefined

from coordinator.pia import charts
from privacy.assessment.evidence import HumanQuestion
from privacy.assessment.pia_schema import Pia
from privacy.assessment.wording import WordingError, lint_html

_ALERT_TITLES = {
    "no_guarantee": "No formal guarantee",
    "failed": "Failed check",
    "missing_hospital": "A hospital was missing",
    "aborted_round": "A round was aborted",
    "missing_ledger": "A ledger is missing",
    "simulation": "Simulation",
    "unreadable": "Unreadable evidence",
}


@dataclass(frozen=True, slots=True)
class QuestionGroup:
    """One question and all who have to answer it; ``state`` is the least finished one."""

    question: str
    state: str
    answers: tuple[HumanQuestion, ...]


def render(pia: Pia) -> str:
    """The page.

    Raises:
        WordingError: the page would say something that privacy.assessment.wording refuses.
    """
    package = files("coordinator.pia")
    environment = Environment(
        loader=DictLoader({"page": package.joinpath("page.html.j2").read_text(encoding="utf-8")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "of_100_up": _of_100_up,
        "waiting": _waiting,
        "fingerprint": _fingerprint,
        "alert_title": _ALERT_TITLES.__getitem__,
        "question_groups": _question_groups,
    }
    page = environment.get_template("page").render(
        pia=pia,
        css=_Safe(package.joinpath("page.css").read_text(encoding="utf-8")),
        claims={claim.id: claim for claim in pia.claims},
        humans={question.id: question for question in pia.human_inputs},
        numbers=_numbers(pia),
        titles={section.id: section.title for section in pia.sections},
        charts=_charts(pia),
    )
    findings = lint_html(page)
    if findings:
        raise WordingError(findings)
    return page


class _Safe(str):
    """Text from this package that the template engine must not escape."""

    __slots__ = ()

    def __html__(self) -> str:
        return self


def _charts(pia: Pia) -> dict[str, str]:
    delta = next((view.delta for view in pia.dp.views), None)
    return {
        "epsilon": charts.epsilon_over_delta(pia.dp.curve, delta) if pia.dp.curve else "",
        "tradeoff": charts.tradeoff(pia.dp.tradeoff_curve) if pia.dp.tradeoff_curve else "",
        "cumulative": charts.cumulative_epsilon(pia.dp.per_hospital),
        "cohort": charts.cohort_per_round(pia.secagg.rounds, pia.secagg.hospitals, pia.secagg.threshold),
    }


def _numbers(pia: Pia) -> dict[str, str]:
    """Chapter numbers in reading order."""
    names = [*(section.id for section in pia.sections), "public", "annex"]
    return {name: str(number) for number, name in enumerate(names, start=1)}


def _number(value: float) -> str:
    """Four significant digits; powers of ten as 1e-05 is read by nobody, so the exponent is shortened."""
    text = f"{value:.4g}"
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa}e{int(exponent)}" if e else text


def _percent(value: float) -> str:
    return f"{_number(100 * value)} %"


def _of_100_up(value: float) -> str:
    """Out of one hundred people, rounded up to a tenth: an upper bound must not be printed smaller than it is."""
    return f"{ceil(1000 * value - 1e-9) / 10:g}"


def _fingerprint(digest: str) -> str:
    """The first 16 hexadecimal digits in groups of four, as read out on the telephone."""
    return " ".join(digest[start : start + 4] for start in range(0, 16, 4))


def _question_groups(ids: Sequence[str], humans: Mapping[str, HumanQuestion]) -> list[QuestionGroup]:
    """Questions of a chapter, the same question to several hospitals together."""
    groups: dict[str, list[HumanQuestion]] = {}
    for identifier in ids:
        groups.setdefault(humans[identifier].question, []).append(humans[identifier])
    order = ("MISSING", "DRAFT", "FINAL")
    return [
        QuestionGroup(question, min((item.state for item in items), key=order.index), tuple(items))
        for question, items in groups.items()
    ]


def _waiting(pia: Pia) -> dict[str, list[str]]:
    """Owner of unanswered questions to the chapters in which they stand, for page 1."""
    found: dict[str, list[str]] = {}
    for question in pia.human_inputs:
        if question.state != "FINAL":
            chapters = found.setdefault(question.owner, [])
            if question.section not in chapters:
                chapters.append(question.section)
    return found
