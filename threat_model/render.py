"""Write the register as a page for people: ``python -m threat_model.render`` renews THREATS.md.

The page is made from the register alone, so it cannot say more than the code base can show; a test compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from privacy.assessment.threat_schema import Control, Register, Threat
from threat_model.register import load_register

ON_WHEN = {
    "always": "in every run",
    "dp": "in modes local and distributed; off in mode none",
    "stage": "when the study has a stage; off with stage none",
    "network": "between processes; a simulation in one process has no network",
    "hospital": "where a hospital's own policy asks for it; a run's evidence does not tell",
    "not_built": "not built yet",
}

PICTURE = """\
```
      hospital a                     coordinator                     hospital b
 +------------------+           +------------------+           +------------------+
 | patient table    |           | orders, masked   |           |    patient table |
 |   | TB-EXTRACT   |  TB-LINK  | vectors, agreed  |  TB-LINK  |   TB-EXTRACT |   |
 | node: policy,    | <=======> | sets, sums,      | <=======> |    node: policy, |
 | ledger, noise,   |           | receipts         |           |   ledger, noise, |
 | masks            |           |                  |           |            masks |
 +------------------+           +------------------+           +------------------+
          ^                              |  TB-RELEASE                    ^
          |     TB-PEER: sealed shares   v  model, results, assessment    |
          +-------- carried by the coordinator, not readable to it -------+
```"""


def render(register: Register) -> str:
    """THREATS.md as one string."""
    parts = [
        "# Threat model",
        "",
        "<!-- Written by `python -m threat_model.render` from register.json; edit that file. -->",
        "",
        "What can go wrong when hospitals train one model together, what is done about it, which test fails when",
        "it is not done, and what is left. A control without a test says so. The privacy impact assessment of a run",
        "repeats the last part with two columns more: was the control on in this run, and was it tested at the commit",
        "that ran.",
        "",
        *_summary(register),
        *_adversaries(register),
        *_assets(register),
        *_boundaries(register),
        *_assumptions(register),
        *_non_goals(register),
        *_threats(register),
        *_controls(register),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    def line(cells: tuple[str, ...]) -> str:
        return "| " + " | ".join(cell.replace("|", "/") for cell in cells) + " |"

    return [line(heads), "|" + "---|" * len(heads), *(line(row) for row in rows), ""]


def _summary(register: Register) -> list[str]:
    built = [control for control in register.controls if control.on_when != "not_built"]
    untested = [control.id for control in built if not control.tests]
    missing = [control.id for control in register.controls if control.on_when == "not_built"]
    return [
        f"**{len(register.threats)} threats, {len(register.controls)} controls**: {len(built)} built, "
        f"{len(built) - len(untested)} of them with a named test.",
        "",
        f"- Built, no test named yet: {', '.join(untested) or 'none'}.",
        f"- Not built yet: {', '.join(missing) or 'none'}.",
        "",
    ]


def _adversaries(register: Register) -> list[str]:
    rows = ((f"`{a.id}`", f"**{a.name}**", a.can, a.cannot or "-") for a in register.adversaries)
    return ["## Adversaries", "", *_table(("id", "who", "can", "cannot"), rows)]


def _assets(register: Register) -> list[str]:
    rows = ((f"`{a.id}`", f"**{a.name}**", a.held_by, a.why) for a in register.assets)
    return ["## Assets", "", *_table(("id", "what", "held by", "why it matters"), rows)]


def _boundaries(register: Register) -> list[str]:
    rows = ((f"`{b.id}`", b.between.replace("|", "-"), b.crosses, b.protection) for b in register.boundaries)
    head = ["## Trust boundaries", "", PICTURE, ""]
    return [*head, *_table(("id", "between", "what crosses", "what protects it"), rows)]


def _assumptions(register: Register) -> list[str]:
    lines = ["## Assumptions, and what if they are false", ""]
    for assumption in register.assumptions:
        lines += [
            f"**`{assumption.id}`** {assumption.text}",
            f"- *If false:* {assumption.if_false}",
            f"- *Checked by:* {assumption.checked_by}",
            "",
        ]
    return lines


def _non_goals(register: Register) -> list[str]:
    rows = ((f"`{goal.id}`", goal.text, goal.instead) for goal in register.non_goals)
    return ["## What this does not give", "", *_table(("id", "not given", "instead"), rows)]


def _threats(register: Register) -> list[str]:
    lines = [
        "## Threats",
        "",
        "Classes are STRIDE letters and LINDDUN codes; references name MITRE ATLAS, NIST, papers and laws.",
        "",
    ]
    for threat in register.threats:
        lines += _threat(register, threat)
    return lines


def _threat(register: Register, threat: Threat) -> list[str]:
    names = {adversary.id: adversary.name for adversary in register.adversaries}
    classes = ", ".join(threat.classes)
    refs = f"; {', '.join(threat.refs)}" if threat.refs else ""
    lines = [
        f"### {threat.id} {threat.title}",
        "",
        f"*{threat.priority} · {', '.join(names[name].lower() for name in threat.adversaries)} · {classes}{refs}*",
        "",
        f"- **Attack.** {threat.attack}.",
        f"- **Needs.** {threat.precondition}.",
    ]
    for name in threat.controls:
        lines.append(_control_line(register.control(name)))
    lines += [
        f"- **Counts as evidence.** {threat.counts_as_evidence.rstrip('.')}.",
        f"- **Left over.** {threat.residual}",
        "",
    ]
    return lines


def _control_line(control: Control) -> str:
    if control.on_when == "not_built":
        return f"- **Control `{control.id}`.** {control.title}: not built yet."
    tests = ", ".join(f"`{test}`" for test in control.tests) or "none yet"
    return f"- **Control `{control.id}`.** {control.title}. Setting: {control.setting}. Test: {tests}."


def _controls(register: Register) -> list[str]:
    rows = (
        (
            f"`{control.id}`",
            ", ".join(f"`{path}`" for path in control.code) or "-",
            ON_WHEN[control.on_when],
            str(len(control.tests)) if control.tests else "none yet",
        )
        for control in register.controls
    )
    return ["## Controls", "", *_table(("id", "code", "on", "tests"), rows)]


def main() -> None:
    """Renew THREATS.md beside this module."""
    Path(__file__).with_name("THREATS.md").write_text(render(load_register()), encoding="utf-8")


if __name__ == "__main__":
    main()
