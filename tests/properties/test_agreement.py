"""Whatever bytes a coordinator sends, a hospital answers with a typed refusal or an agreement that it derived itself."""

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.link.canonical import canonical, parse_canonical
from privacy.studies.agreement import AgreementError, build, from_bytes
from privacy.studies.study import StudyError, parse_study
from tests.study_files import STUDY, study

AGREED = build(study(('mode = "local"', 'mode = "none"')))
BODY: dict[str, Any] = parse_canonical(AGREED.to_bytes())

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-9, (1 << 53) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def _paths(value: Any, start: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    keys: list[Any] = (
        list(value) if isinstance(value, dict) else list(range(len(value))) if isinstance(value, list) else []
    )
    return [path for key in keys for path in ((*start, key), *_paths(value[key], (*start, key)))]


PATHS = _paths(BODY)


def _refusal(data: bytes) -> str | None:
    """What a hospital answers to an agreement; None where it agrees."""
    try:
        received = from_bytes(data)
    except (AgreementError, StudyError) as refusal:
        return str(refusal)
    assert received.to_bytes() == data
    return None


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PATHS), JSON)
def test_one_changed_value(path: tuple[str | int, ...], value: Any) -> None:
    body: Any = copy.deepcopy(BODY)
    inner = body
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    data = canonical(body)
    refusal = _refusal(data)
    # A changed study file is another study, and everything else follows from it again; other changes follow from none.
    assert refusal is not None or path[0] == "study" or data == AGREED.to_bytes()
    assert "\n" not in (refusal or "")


@settings(max_examples=100)
@given(st.binary(max_size=200) | JSON.map(canonical))
def test_any_bytes(data: bytes) -> None:
    assert _refusal(data) is not None


@settings(max_examples=200)
@given(st.integers(0, len(STUDY) - 1), st.text(max_size=3), st.integers(0, 3))
def test_a_mistyped_study_file(position: int, typed: str, erased: int) -> None:
    said = "typed.toml: "
    try:
        parse_study(STUDY[:position] + typed + STUDY[position + erased :], "typed.toml")
    except StudyError as refusal:
        said = str(refusal)
    assert said.startswith("typed.toml: ")
