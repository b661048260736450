"""Cuts the README's excerpt out of the assessment of the last demo: `python -m deploy.readme_excerpt`."""

from __future__ import annotations

import sys
from pathlib import Path

from deploy.dpo_cli import read_bundle
from privacy.assessment.pia_schema import Claim, Pia
from privacy.link.command_line import say, say_error

ROOT = Path(__file__).resolve().parent.parent
LATEST = ROOT / "out" / "demo" / "latest"
BEGIN, END = "<!-- excerpt:begin (python -m deploy.readme_excerpt) -->", "<!-- excerpt:end -->"
# One claim of each kind: recomputed, signed by a party, and openly missing.
SHOWN = ("E-GUARANTEE", "E-STAGE-COST", "E-RECEIPTS", "E-COHORT", "E-MISSING", "E-STAGE-KLT", "A-AUDITS")


def excerpt(pia: Pia) -> str:
    """Some claims of the document as a Markdown table, word for word."""
    rows = {claim.id: claim for claim in pia.claims}
    lines = [
        f"Status of the document: **{pia.generator_status}** ({len(pia.gaps)} open gaps, the questions that only people can answer among them).",
        "",
        "| status | claim | how to check |",
        "|---|---|---|",
        *(_row(rows[name]) for name in SHOWN if name in rows),
    ]
    return "\n".join(lines)


def _row(claim: Claim) -> str:
    cells = (claim.status.value, claim.text, claim.recheck or "")
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def replaced(readme: str, text: str) -> str:
    """The README with the excerpt between its marks."""
    before, rest = readme.split(BEGIN)
    return before + BEGIN + "\n" + text + "\n" + END + rest.split(END)[1]


def main() -> int:
    """Rewrites README.md; exit code 2 where there is no demo yet."""
    runs = sorted(LATEST.glob("run-*"))
    if not runs:
        say_error("there is no demo yet; run `make demo` first")
        return 2
    pia = Pia.model_validate_json(read_bundle(runs[-1])["pia.json"])
    readme = ROOT / "README.md"
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), excerpt(pia)), encoding="utf-8")
    say(f"README.md: excerpt of {runs[-1].parent.name}/{runs[-1].name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
