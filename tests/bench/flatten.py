"""`python -m tests.bench.flatten --json`: OMOP tables and FHIR exports to the flat table, one JSON object a line.

{source, patients, records, mib, cohort, seconds, cpu_s, records_per_s, peak_mib, idle_mib}: each source is flattened by
deploy/cohort_omop.toml or deploy/cohort_fhir.toml in a process of its own. Seconds are on the clock, `cpu_s` those of all threads, from the
definition to the table in memory; `idle_mib` is the process with its libraries before it reads anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.flatten_sources import fhir, omop

ROOT = Path(__file__).resolve().parents[2]
MEASURE = """
import json, re, sys, time
from pathlib import Path
import duckdb
from hospital_node.sources import fhir, omop
from hospital_node.sources.definition_file import load_definition
from hospital_node.sources.flatten import flatten
# Not ru_maxrss, which a process inherits from the one that started it.
def mib(what):
    return int(re.search(what + r":\\s+(\\d+) kB", open("/proc/self/status").read()).group(1)) / 1024
idle, start, cpu = mib("VmRSS"), time.perf_counter(), time.process_time()
table = flatten(load_definition(Path(sys.argv[1])), Path(sys.argv[2])).table
print(json.dumps([len(table), time.perf_counter() - start, time.process_time() - cpu, mib("VmHWM"), idle]))
"""


@dataclass(frozen=True, slots=True)
class Line:
    """One source."""

    source: str
    patients: int
    records: int
    mib: float
    cohort: int
    seconds: float
    cpu_s: float
    records_per_s: float
    peak_mib: float
    idle_mib: float


def measured(source: str, patients: int, folder: Path) -> Line:
    """Make the source, flatten it, take it away again."""
    if source == "fhir":
        records = fhir(patients, folder)
    else:
        records = omop(patients, folder, "." + source.removeprefix("omop "))
    definition = ROOT / "deploy" / f"cohort_{source[:4]}.toml"
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE, str(definition), str(folder)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    cohort, seconds, cpu, peak, idle = json.loads(ran.stdout)
    mib = sum(path.stat().st_size for path in folder.iterdir()) / (1 << 20)
    return Line(
        *(source, patients, records, round(mib, 1), cohort, round(seconds, 2)),
        *(round(cpu, 2), round(records / seconds), round(peak, 1), round(idle, 1)),
    )


def main() -> int:
    """Prints one line a source; always 0: figures are judged by whoever reads them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="accepted for uniformity: output is JSON anyway")
    parser.add_argument("--patients", type=int, default=100_000)
    asked = parser.parse_args()
    for source in ("omop csv", "omop parquet", "fhir"):
        with tempfile.TemporaryDirectory() as scratch:
            line = measured(source, asked.patients, Path(scratch) / "source")
        print(json.dumps(asdict(line)), flush=True)
        print(
            f"{source}: {line.records_per_s:,} records a second, {line.peak_mib:.0f} MiB at most",
            file=sys.stderr,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
