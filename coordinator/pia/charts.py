"""The assessment's figures as inline SVG: a few marks, direct labels, no script, no font to fetch.

Colors come from the page's style sheet through classes, so that print and dark paper stay one decision.
Every figure repeats numbers that stand in a table beside it; nothing is shown here only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, log10

from privacy.assessment.evidence import RoundRecord
from privacy.assessment.pia_schema import CurvePoint, HospitalPrivacy, TradeoffPoint

WIDTH, HEIGHT = 640.0, 240.0
LEFT, RIGHT, TOP, BOTTOM = 46.0, 120.0, 26.0, 38.0


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


def _svg(title: str, body: Sequence[str], height: float = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {height:g}" role="img" aria-label="{escape(title)}">'
        f"<title>{escape(title)}</title>{''.join(body)}</svg>"
    )


def _text(x: float, y: float, words: str, anchor: str = "middle", kind: str = "tick") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _path(points: Sequence[tuple[float, float]], kind: str) -> str:
    steps = " ".join(f"{'M' if i == 0 else 'L'}{x:.1f} {y:.1f}" for i, (x, y) in enumerate(points))
    return f'<path class="{kind}" d="{steps}"/>'


def _nice_top(value: float) -> float:
    """The next 1, 2, 2.5 or 5 times a power of ten at or above ``value``."""
    if value <= 0:
        return 1.0
    power: float = 10.0 ** floor(log10(value))
    return next(step * power for step in (1.0, 2.0, 2.5, 5.0, 10.0) if value <= step * power * (1 + 1e-9))


def _frame(x_label: str, y_label: str, y: Callable[[float], float], top: float) -> list[str]:
    """Horizontal grid with four steps and both axis names."""
    marks = [
        mark
        for value in (top * step / 4 for step in range(5))
        for mark in (
            _line(LEFT, y(value), WIDTH - RIGHT, y(value), "grid"),
            _text(LEFT - 8, y(value) + 4, f"{value:g}", "end"),
        )
    ]
    return [
        *marks,
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 4, x_label, kind="axis"),
        _text(0, 11, y_label, "start", "axis"),
    ]


def epsilon_over_delta(points: Sequence[CurvePoint], headline_delta: float | None) -> str:
    """Epsilon against delta on a logarithmic axis, the declared delta marked."""
    top = _nice_top(max(point.epsilon for point in points))
    exponents = [log10(point.delta) for point in points]
    x = _scale(min(exponents), max(exponents), LEFT, WIDTH - RIGHT)
    y = _scale(0, top, HEIGHT - BOTTOM, TOP)
    body = _frame("delta (logarithmic)", "epsilon", y, top)
    for exponent in range(ceil(min(exponents)), floor(max(exponents)) + 1):
        body.append(_text(x(exponent), HEIGHT - BOTTOM + 16, f"1e{exponent}"))
    if headline_delta is not None and min(exponents) <= log10(headline_delta) <= max(exponents):
        at = x(log10(headline_delta))
        body += [
            _line(at, TOP, at, HEIGHT - BOTTOM, "limit"),
            _text(at + 6, TOP + 10, "declared delta", "start"),
        ]
    body.append(
        _path([(x(e), y(point.epsilon)) for e, point in zip(exponents, points, strict=True)], "curve")
    )
    return _svg("epsilon over delta", body)


def tradeoff(points: Sequence[TradeoffPoint]) -> str:
    """The best possible membership test against pure guessing."""
    x = _scale(0, 1, LEFT, WIDTH - RIGHT)
    y = _scale(0, 1, HEIGHT - BOTTOM, TOP)
    body = _frame("false alarms", "recognized", y, 1.0)
    body += [_text(x(value), HEIGHT - BOTTOM + 16, f"{value:g}") for value in (0.0, 0.25, 0.5, 0.75, 1.0)]
    body += [
        _path([(x(a), y(b)) for a, b in ((0.0, 0.0), (1.0, 1.0))], "limit"),
        _path([(x(point.fpr), y(point.tpr_max)) for point in points], "curve"),
        _text(WIDTH - RIGHT + 8, y(0.99), "upper bound", "start"),
        _text(WIDTH - RIGHT + 8, y(0.87), "dashed: guessing", "start"),
    ]
    return _svg("largest share of recognized patients by rate of false alarms", body)


def cumulative_epsilon(hospitals: Sequence[HospitalPrivacy]) -> str:
    """Cumulative epsilon per hospital, one step a charged round, with the budget where it is known."""
    drawn = [hospital for hospital in hospitals if hospital.cumulative]
    if not drawn:
        return ""
    budgets = [hospital.budget_epsilon for hospital in drawn if hospital.budget_epsilon is not None]
    top = _nice_top(max([hospital.cumulative[-1].epsilon for hospital in drawn] + budgets))
    longest = max(hospital.cumulative[-1].charges for hospital in drawn)
    x = _scale(0, longest, LEFT, WIDTH - RIGHT)
    y = _scale(0, top, HEIGHT - BOTTOM, TOP)
    body = _frame("charged rounds in the ledger", "epsilon", y, top)
    for step in range(0, longest + 1, max(1, ceil(longest / 10))):
        body.append(_text(x(step), HEIGHT - BOTTOM + 16, str(step)))
    for budget in sorted(set(budgets)):
        body += [
            _line(LEFT, y(budget), WIDTH - RIGHT, y(budget), "limit"),
            _text(WIDTH - RIGHT + 8, y(budget) + 4, f"budget {budget:g}", "start"),
        ]
    for index, hospital in enumerate(drawn):
        points = [(x(0), y(0.0)), *((x(step.charges), y(step.epsilon)) for step in hospital.cumulative)]
        body.append(_path(points, f"series s{index % 6}"))
    body += _end_labels(
        [
            (hospital.hospital, y(hospital.cumulative[-1].epsilon), index)
            for index, hospital in enumerate(drawn)
        ],
        [y(budget) for budget in sorted(set(budgets))],
    )
    return _svg("cumulative epsilon per hospital", body)


def _end_labels(ends: list[tuple[str, float, int]], taken: list[float]) -> list[str]:
    """Names at the right margin, moved down until none covers another."""
    body: list[str] = []
    used = sorted(taken)
    for name, at, index in sorted(ends, key=lambda end: end[1]):
        place = at
        while any(abs(place - other) < 13 for other in used):
            place += 1
        used.append(place)
        body.append(
            f'<text class="tick name s{index % 6}" x="{WIDTH - RIGHT + 8:.1f}" y="{place + 4:.1f}">{escape(name)}</text>'
        )
    return body


def cohort_per_round(rounds: Sequence[RoundRecord], hospitals: int, threshold: int | None) -> str:
    """How many hospitals are in each round's sum, the threshold as a line; an aborted round has no bar but a mark."""
    if not rounds:
        return ""
    height = HEIGHT
    slot = (WIDTH - LEFT - RIGHT) / len(rounds)
    bar = min(26.0, slot * 0.7)
    y = _scale(0, max(hospitals, 1), height - BOTTOM, TOP)
    body = [_text(0, 11, "hospitals", "start", "axis")]
    for count in range(hospitals + 1) if hospitals <= 12 else range(0, hospitals + 1, ceil(hospitals / 8)):
        body += [
            _line(LEFT, y(count), WIDTH - RIGHT, y(count), "grid"),
            _text(LEFT - 8, y(count) + 4, str(count), "end"),
        ]
    every = ceil(len(rounds) / 25)
    for index, record in enumerate(rounds):
        middle = LEFT + slot * (index + 0.5)
        if record.status == "done":
            top = y(len(record.answered))
            kind = "bar short" if record.missing else "bar"
            body.append(
                f'<rect class="{kind}" x="{middle - bar / 2:.1f}" y="{top:.1f}" '
                f'width="{bar:.1f}" height="{height - BOTTOM - top:.1f}"/>'
            )
        else:
            body.append(_text(middle, y(0) - 6, "✕", kind="abort"))
        if index % every == 0:
            body.append(_text(middle, height - BOTTOM + 16, str(record.round)))
    if threshold is not None:
        body += [
            _line(LEFT, y(threshold), WIDTH - RIGHT, y(threshold), "limit"),
            _text(WIDTH - RIGHT + 8, y(threshold) + 4, f"threshold {threshold}", "start"),
        ]
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, height - 4, "round", kind="axis"))
    return _svg("hospitals in the sum of each round", body)
