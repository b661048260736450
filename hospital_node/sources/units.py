"""Units of recorded numbers: the declared conversion, and which texts may stand in a message.

A unit text comes from the data, where a free text may hold anything about a patient. Only what is built of UCUM's own
atoms, or is a well-known other spelling of one, is repeated; everything else is called a spelling of its own.
"""

import re
from collections.abc import Mapping

from hospital_node.sources.definition import Scale

_PREFIX = "(?:da|[YZEPTGMkhdcmunpfazyµμ])?"
_METRIC = (
    r"(?:mol|cal|\[iU\]|\[IU\]|IU|eq|Eq|osm|Osm|kat|Cel|Pa|Hz|bar|m\[Hg\]|mHg|g|L|l|m|s|U|J|W|V|A|K|N|B)"
)
_PLAIN = (
    r"(?:%|1|10[*^]-?\d{1,2}|min|h|d|wk|mo|a|hr|yr|year|years|week|weeks|month|months|day|days|cells|beats|bpm|kph|"
    r"\[degF\]|degF|\[lb_av\]|lb|lbs|\[oz_av\]|\[in_i\]|in|\[ft_i\]|ft|°C|°F|C|F|mmHg|cmH2O|\[pH\]|pH|ratio|score|"
    r"\[arb'U\]|\[CFU\]|deg|rad|kg|celsius|fahrenheit)"
)
_ATOM = rf"(?:{_PLAIN}|{_PREFIX}{_METRIC})(?:-?[1-4])?"
_UNIT = re.compile(rf"/?{_ATOM}(?:[./]{_ATOM}){{0,3}}")
IDENTITY = Scale(factor=1.0)


def scale_for(found: tuple[str, ...], unit: str, convert: Mapping[str, Scale]) -> Scale | None:
    """How a number recorded in a unit becomes one in the declared `unit`; None where nothing says how.

    Args:
        found: the texts that name the recorded unit (code, name, id), empty ones left out; none: no unit recorded,
            which is the unit "1", and otherwise covered by a conversion from "" alone.
        unit, convert: as declared.
    """
    for text in found or ("",):
        if text in convert:
            return convert[text]
        if text == unit and text:
            return IDENTITY
    return IDENTITY if not found and unit == "1" else None


def spoken(found: tuple[str, ...]) -> str:
    """The recorded unit for a message."""
    if not found:
        return "no unit"
    known = next((text for text in found if len(text) <= 24 and _UNIT.fullmatch(text)), None)
    return "a unit in a spelling of its own" if known is None else f"unit '{known}'"
