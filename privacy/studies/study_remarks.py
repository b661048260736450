"""What is legal in a study file and worth a second look, for `wardround-study lint`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privacy.guarantees.stage_release import VoidRelease
from privacy.studies import graph_choice

if TYPE_CHECKING:
    from privacy.studies.study import Study

# How a draft of `wardround-study new` marks what people have to say.
UNDECIDED = "decide"


def remarks(study: Study) -> tuple[str, ...]:
    """One sentence each, in the order in which `lint` prints them."""
    found: list[str] = []
    if study.stage_release is not None and isinstance(study.stage_release, VoidRelease):
        found.append(f"[stage] no formal guarantee whatever epsilon says. {study.stage_release.reason}")
    if study.stage.kind == "synthetic_dp" and (
        study.privacy.epsilon is not None or study.privacy.delta is not None
    ):
        found.append(
            "[privacy] epsilon and delta are not used: what is trained on the private synthetic patients costs nothing more, "
            "so that those of [stage] are the whole study's"
        )
    if study.mode == "none" and (study.privacy.epsilon is not None or study.privacy.delta is not None):
        found.append(
            "[privacy] mode 'none' adds no noise: epsilon and delta are not used and nothing is guaranteed"
        )
    if study.row_assumption and study.mode != "none":
        found.append(f"the guarantee assumes that {study.row_assumption}; declare one")
    for name in study.dictionary.unsourced():
        found.append(f"field '{name}' has bounds without a source; say where the public bounds come from")
    open_ = [field.name for field in study.fields if field.purpose.startswith(UNDECIDED)]
    if open_:
        found.append(
            f"the draft's 'decide' stands in the purpose of {', '.join(open_)}; say why the study needs it"
        )
    lists = [field.name for field in study.fields if field.categories[:1] == (UNDECIDED,)]
    if lists:
        found.append(
            f"the draft's 'decide' stands in the categories of {', '.join(lists)}; name the closed list of the protocol"
        )
    if not study.about.purpose.strip():
        found.append("[study] purpose is empty; hospitals and the assessment ask for it")
    if study.graph is not None:
        found.append(graph_choice.remark(study.graph))
    if study.colluding == 0:
        found.append("[cohort] colluding = 0: no hospital may collude with the coordinator")
    return tuple(found)
