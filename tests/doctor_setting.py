"""A hospital that is ready for a study, for the doctor's tests to spoil in one place each."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from hospital_node.clock import Clock, SystemClock
from hospital_node.doctor.case import Case
from hospital_node.doctor.checks import CHECKS
from hospital_node.doctor.examination import Outcome, examine
from hospital_node.home import Home
from tests.process.link_setup import HOSPITALS, Consortium
from tests.study_files import table, text, write_csv

POLICY = """
epsilon_total = 8
delta_total = 1e-5
minimum_noise_multiplier = 0.5
minimum_threshold = 3
minimum_cohort = 3
colluding_minimum = 1
families = ["piecewise_exponential"]
stages = ["generalize"]
purposes = ["test"]
modes = ["local"]
aborted_rounds_maximum = 2
expires = 2999-12-31
journal_anchor = "{anchor}"
"""
ROOMY = "MemTotal: 16000000 kB\nMemAvailable:   8000000 kB\n"
DISK = "24 1 0:23 / / rw - ext4 /dev/sda1 rw\n"


@dataclass(frozen=True)
class Setting:
    """One hospital on a machine of its own: `system` stands for its /proc."""

    home: Home
    study: Path
    data: Path
    system: Path

    def case(self, coordinator: str | None = None, clock: Clock | None = None, **environment: str) -> Case:
        return Case(
            self.home,
            self.study,
            self.data,
            coordinator,
            False,
            environment,
            clock or SystemClock(),
            self.system,
        )

    def outcomes(self, case: Case, *names: str) -> dict[str, Outcome]:
        """The named checks, with those that they need; all without names."""
        wanted = set(names) or {check.name for check in CHECKS}
        for check in reversed(CHECKS):
            if check.name in wanted:
                wanted |= set(check.needs)
        return {o.check.name: o for o in examine(case, [check for check in CHECKS if check.name in wanted])}

    def outcome(self, name: str, case: Case | None = None) -> Outcome:
        return self.outcomes(case or self.case(), name)[name]


def make_setting(folder: Path, consortium: Consortium, hospital: str = "north") -> Setting:
    """Keys, roster, policy, study and table of one hospital of a consortium."""
    home = Home(folder / hospital)
    home.prepare()
    shutil.copytree(consortium.folder / hospital, home.keys)
    home.policy.write_text(POLICY.format(anchor=""), encoding="utf-8")
    study = folder / "study.toml"
    sizes = ", ".join(f"{name} = 400" for name in HOSPITALS)
    study.write_text(
        text(
            ("n_public = {a = 400, b = 500, c = 600}", f"n_public = {{{sizes}}}"),
            ('hospitals = ["a", "b", "c"]', f"hospitals = {list(HOSPITALS)}".replace("'", '"')),
        ),
        encoding="utf-8",
    )
    data = write_csv(table(), folder, "extract.csv")
    data.chmod(0o600)
    system = folder / "system"
    (system / "proc/self").mkdir(parents=True)
    (system / "proc/meminfo").write_text(ROOMY)
    (system / "proc/self/mountinfo").write_text(DISK)
    return Setting(home, study, data, system)
