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
from coordinator.results import write_study
from deploy import dpo_cli
from deploy.dpo_cli import app
from privacy.link.certificates import fingerprint_groups
from privacy.link.folder_files import FolderFiles
from privacy.link.roster_file import Consortium, write_consortium
from tests.consortium import World
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


def test_verify_prints_whose_bundle_it_is_and_a_roster_anchors_it(tmp_path: Path) -> None:
    world = World.of(tmp_path)
    run, executed = world.execute()
    out = tmp_path / "out"
    write_study(out, world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash))
    build(out, identity=world.keys["coordinator"].identity_private)
    certificates = {name: keys.certificate_pem for name, keys in world.keys.items()}
    own = Consortium(
        world.signed.roster, certificates, dict.fromkeys(certificates, ""), dict(world.signed.signatures)
    )
    file = tmp_path / "consortium.json"
    file.write_bytes(write_consortium(own))
    done = RUNNER.invoke(app, ["verify", str(out), "--roster", str(file)])
    assert done.exit_code == 0, done.output
    assert world.agreement.hash in done.output
    assert fingerprint_groups(world.signed.roster.hash) in done.output
    for name in ("a", "coordinator"):
        assert fingerprint_groups(world.keys[name].identity_public) in done.output
    # The same file does not anchor another consortium's bundle.
    another = write(tmp_path / "another", plain_files())
    build(another, identity=key("coordinator"))
    refused = RUNNER.invoke(app, ["verify", str(another), "--roster", str(file)])
    assert refused.exit_code == 1
    assert "NOT the given one" in refused.output
    assert RUNNER.invoke(app, ["verify", str(out), "--roster", str(out / "pia.json")]).exit_code == 2


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
from deploy import dpo_cli
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


def test_a_file_that_goes_while_it_is_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not a traceback, whose exit code would say that the bundle does not hold."""
    short = tmp_path / "model.json"
    short.write_bytes(b"{}")
    read = FolderFiles.__getitem__

    def meanwhile(files: FolderFiles, name: str) -> bytes:
        short.unlink(missing_ok=True)
        return read(files, name)

    monkeypatch.setattr(FolderFiles, "__getitem__", meanwhile)
    monkeypatch.setattr("sys.argv", ["wardround-dpo", "verify", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        dpo_cli.main()
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err
        == f"error: {short}: No such file or directory; check the path and its permissions\n"
    )
