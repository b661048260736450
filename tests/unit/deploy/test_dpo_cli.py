"""wardround-dpo: folders and zips, exit codes, and an environment without the rest of the system."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from coordinator.pia.build import build
from deploy.dpo_cli import app
from tests.unit.coordinator.pia.bundles import key, plain_files, write

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write(tmp_path_factory.mktemp("dpo") / "bundle", plain_files())
    build(folder, identity=key("coordinator"))
    return folder


def zipped(bundle: Path, target: Path, prefix: str) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(bundle.rglob("*")):
            if path.is_file():
                archive.write(path, prefix + path.relative_to(bundle).as_posix())
    return target


@pytest.mark.parametrize("prefix", ["", "bundle/"])
def test_verify_takes_a_folder_or_a_zip(bundle: Path, tmp_path: Path, prefix: str) -> None:
    for path in (bundle, zipped(bundle, tmp_path / "bundle.zip", prefix)):
        done = RUNNER.invoke(app, ["verify", str(path)])
        assert done.exit_code == 0, done.output
        assert "The bundle holds." in done.output


def test_verify_exits_1_and_names_the_file_when_something_changed(bundle: Path, tmp_path: Path) -> None:
    changed = write(
        tmp_path, {path.relative_to(bundle).as_posix(): path.read_bytes() for path in bundle.rglob("*.*")}
    )
    (changed / "evidence/ledger/east.jsonl").write_bytes(b"")
    done = RUNNER.invoke(app, ["verify", str(changed), "--json"])
    assert done.exit_code == 1
    report = json.loads(done.output)
    assert not report["ok"]
    assert any("evidence/ledger/east.jsonl" in check["text"] for check in report["checks"] if not check["ok"])


@pytest.mark.parametrize("content", [None, b"", b"not a zip"])
def test_what_is_no_bundle_is_one_sentence_and_exit_2(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "bundle"
    if content is not None:
        path.write_bytes(content)
    done = RUNNER.invoke(app, ["verify", str(path)])
    assert done.exit_code == 2
    assert len(done.output.strip().splitlines()) == 1


def test_claims_can_be_limited_to_what_evidence_does_not_carry(bundle: Path) -> None:
    everything = json.loads(RUNNER.invoke(app, ["claims", str(bundle), "--json"]).output)
    bare = json.loads(RUNNER.invoke(app, ["claims", str(bundle), "--json", "--unevidenced"]).output)
    assert {claim["status"] for claim in bare} <= {"NOT_TESTED", "STALE", "UNDEFINED", "GAP", "FAILED"}
    assert 0 < len(bare) < len(everything)
    assert "E-GUARANTEE" in RUNNER.invoke(app, ["claims", str(bundle)]).output


def test_show_prints_the_first_page(bundle: Path) -> None:
    shown = RUNNER.invoke(app, ["show", str(bundle)])
    assert shown.exit_code == 0
    assert "INCOMPLETE" in shown.output
    assert "the bundle holds" in shown.output
    assert "add/remove" in shown.output


_WITHOUT = """
import sys
REFUSED = {refused!r}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in REFUSED:
            raise ImportError(f"{{name}} is not in this environment")
sys.meta_path.insert(0, Refuse())
from deploy.dpo_cli import app
app(["verify", {bundle!r}], standalone_mode=False)
"""


def test_verify_needs_nothing_but_privacy_and_secagg(bundle: Path) -> None:
    """The modules of every other package are refused at import, as in an environment that never had them."""
    refused = {
        *(
            "flwr",
            "torch",
            "opacus",
            "pandas",
            "pandera",
            "pyarrow",
            "opendp",
            "lifelines",
            "grpc",
            "matplotlib",
        ),
        *("hospital_node", "coordinator", "threat_model"),
    }
    program = _WITHOUT.format(refused=refused, bundle=str(bundle))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False
    )
    assert "The bundle holds." in done.stdout, done.stderr
