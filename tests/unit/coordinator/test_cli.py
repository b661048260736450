"""`wardround-coordinator` as an operator types it, with the hospitals' side of the enrolment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordinator.cli import main
from hospital_node.cli import main as hospital
from hospital_node.home import Home
from tests.command_lines import run
from tests.consortium import HOSPITALS, SMALL
from tests.study_files import text


@pytest.fixture(scope="module")
def enrolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coordinator and four hospitals, every command typed once: init, enrol, draft, sign, collect, keep."""
    root = tmp_path_factory.mktemp("consortium")
    center = root / "coordinator"
    assert run(main, "init", "--home", center).code == 0
    files = []
    for name in HOSPITALS:
        ran = run(hospital, "init", name, "--home", root / name, "--contact", f"Dr. {name}", "--json")
        files.append(ran.json()["enrolment"])
    done = run(main, "enrol", *files, "--home", center)
    assert done.code == 0
    assert done.out.endswith(
        "\nnext: call each contact and compare these fingerprints by phone, then `roster`\n"
    )
    assert len(run(main, "enrol", *files, "--home", center, "--json").out.splitlines()) == len(files)
    draft = run(main, "roster", "--home", center, "--json").json()["draft"]
    for name in HOSPITALS:
        assert run(hospital, "enrol", draft, "--home", root / name, "--yes").code == 0
    return root


def signatures(root: Path) -> list[Path]:
    return [next((root / name / "keys").glob("*signature*.json")) for name in HOSPITALS]


def test_a_roster_is_complete_when_every_hospital_signed(enrolled: Path) -> None:
    center = enrolled / "coordinator"
    first = run(main, "roster", *signatures(enrolled)[:2], "--home", center, "--json").json()
    assert (first["signed"], first["missing"], first["complete"]) == (["a", "b"], ["c", "d"], "")
    done = run(main, "roster", *signatures(enrolled), "--home", center, "--json").json()
    assert done["missing"] == []
    for name in HOSPITALS:
        kept = run(hospital, "enrol", done["complete"], "--home", enrolled / name)
        assert kept.code == 0
        assert "every hospital signed this roster" in kept.out
    assert (Home(enrolled / "a").keys / "consortium.json").is_file()


def test_a_signature_of_somebody_else_is_bad_input(enrolled: Path, tmp_path: Path) -> None:
    forged = json.loads(signatures(enrolled)[0].read_text())
    for key, value in forged.items():
        if isinstance(value, str) and len(value) == 128:
            forged[key] = "00" * 64
    path = tmp_path / "forged.json"
    path.write_text(json.dumps(forged))
    ran = run(main, "roster", path, "--home", enrolled / "coordinator")
    assert ran.code == 2
    ran.error()


def test_a_study_of_other_hospitals_than_the_rosters_is_not_offered(enrolled: Path, tmp_path: Path) -> None:
    run(main, "roster", *signatures(enrolled), "--home", enrolled / "coordinator")
    study = tmp_path / "study.toml"
    study.write_text(text())
    arguments = ("--home", enrolled / "coordinator", "--study", study, "--out", tmp_path / "out")
    ran = run(main, "run", *arguments, "--listen", "127.0.0.1:0")
    assert ran.code == 3
    assert "the study names a, b, c, the signed roster a, b, c, d" in ran.error()


def test_run_refuses_a_bad_study_file_before_it_listens(enrolled: Path, tmp_path: Path) -> None:
    study = tmp_path / "study.toml"
    study.write_text(text(*SMALL, ("horizon_days", "horizon")))
    ran = run(main, "run", "--home", enrolled / "coordinator", "--study", study, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "horizon_days" in ran.error()


def test_run_keeps_the_evidence_of_another_study(enrolled: Path, tmp_path: Path) -> None:
    study, out = tmp_path / "study.toml", tmp_path / "results"
    study.write_text(text(*SMALL), encoding="utf-8")
    assert run(main, "roster", *signatures(enrolled), "--home", enrolled / "coordinator").code == 0
    out.mkdir()
    for content, name in (
        (b'{"study": "earlier"}', "earlier"),
        (b"{", "another study"),
        (b"[]", "another study"),
    ):
        (out / "result.json").write_bytes(content)
        ran = run(main, "run", "--home", enrolled / "coordinator", "--study", study, "--out", out)
        assert ran.code == 2
        assert f"holds the result of {name}, whose evidence would be lost; name another folder" in ran.error()
        assert (out / "result.json").read_bytes() == content


def test_results_prints_the_file_and_names_one_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"study": "small"}')
    assert json.loads(run(main, "results", tmp_path).out) == {"study": "small"}
    ran = run(main, "results", tmp_path / "nowhere")
    assert ran.code == 2
    assert "result.json: No such file or directory" in ran.error()


def test_a_second_init_does_not_overwrite_keys(enrolled: Path) -> None:
    before = (enrolled / "coordinator" / "keys" / "identity.key").read_bytes()
    ran = run(main, "init", "--home", enrolled / "coordinator")
    assert ran.code == 2
    ran.error()
    assert (enrolled / "coordinator" / "keys" / "identity.key").read_bytes() == before


def test_help_shows_an_example_for_every_command() -> None:
    for command in (["init"], ["enrol"], ["roster"], ["run"], ["results"], ["pia", "build"]):
        shown = run(main, *command, "--help")
        assert shown.code == 0
        assert f"Example: wardround-coordinator {' '.join(command)}" in " ".join(shown.out.split())


def test_an_address_that_is_none_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    nothing = ("--home", tmp_path / "home", "--study", tmp_path / "study.toml")
    listening = run(main, "run", *nothing, "--out", tmp_path / "out", "--listen", "7443")
    dialing = run(hospital, "run", *nothing, "--data", tmp_path / "x.csv", "--coordinator", "host:https")
    for ran, option, typed in (
        (listening, "--listen", "7443"),
        (dialing, "--coordinator", "host:https"),
    ):
        assert ran.code == 2
        assert ran.error() == (
            f"error: Invalid value for '{option}': '{typed}' is not an address: write host:port, for instance "
            "coordinator.example.org:7443."
        )
    assert list(tmp_path.iterdir()) == []
