"""A consortium forms: enrolment files in, draft out, signatures in, complete roster out; and every way in which that must fail."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

import coordinator.enrolment as central
import coordinator.keys
import hospital_node.enrolment as local
import hospital_node.keys
from privacy.link.canonical import canonical
from privacy.link.member_keys import IDENTITY_KEY
from privacy.link.roster_file import EnrolmentError, write_enrolment

NOW = datetime.now(UTC)
NAMES = ("east", "north", "south")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Keys of a coordinator and three hospitals, enrolled."""
    coordinator.keys.create(tmp_path / "center", entropy=os.urandom, now=NOW)
    for name in NAMES:
        hospital_node.keys.create(tmp_path / name, name, entropy=os.urandom, now=NOW)
    central.enrol(
        tmp_path / "center", [local.write_enrolment(tmp_path / name, f"call {name}") for name in NAMES]
    )
    return tmp_path


def signed(folder: Path) -> Path:
    """The complete consortium file."""
    draft = central.draft_roster(folder / "center")
    done = central.collect_signatures(
        folder / "center", [local.sign_roster(folder / n, draft) for n in NAMES]
    )
    assert done.path is not None
    return done.path


def edit(path: Path, change: Callable[[dict[str, object]], None]) -> Path:
    """The file with a change, still canonical."""
    value = json.loads(path.read_bytes())
    change(value)
    path.write_bytes(canonical(value))
    return path


def test_everybody_ends_with_the_same_roster(folder: Path) -> None:
    complete = signed(folder)
    rosters = [local.accept_roster(folder / name, complete).roster for name in NAMES]
    assert {r.hash for r in rosters} == {central.load_roster(folder / "center").roster.hash}
    assert rosters[0].ids == NAMES
    assert local.load_roster(folder / "north").roster == rosters[0]


def test_nothing_that_leaves_a_hospital_holds_a_private_key(folder: Path) -> None:
    complete = signed(folder)
    for path in [*folder.glob("*/*.json"), *folder.glob("*/members/*.json"), complete]:
        text = path.read_text()
        assert "PRIVATE" not in text
        for name in (*NAMES, "center"):
            assert (folder / name / "identity.key").read_text().strip() not in text


def test_both_sides_show_the_same_fingerprints(folder: Path) -> None:
    draft = central.draft_roster(folder / "center")
    shown = local.show_roster(draft)
    assert shown == central.show_roster(draft)
    north = hospital_node.keys.load(folder / "north")
    digits = north.certificate.sha256.hex().upper()
    assert " ".join(digits[i : i + 4] for i in range(0, 64, 4)) in shown
    assert "hospital north  call north" in shown


def test_who_has_not_signed_is_named(folder: Path) -> None:
    draft = central.draft_roster(folder / "center")
    done = central.collect_signatures(folder / "center", [local.sign_roster(folder / "south", draft)])
    assert (done.signed, done.missing, done.path) == (("south",), ("east", "north"), None)
    with pytest.raises(EnrolmentError, match="not signed by east, north"):
        local.accept_roster(folder / "north", draft)
    # Drafting again does not lose what was collected for the same roster.
    assert central.draft_roster(folder / "center") == draft
    again = central.collect_signatures(folder / "center", [local.sign_roster(folder / "east", draft)])
    assert again.missing == ("north",)


def test_a_change_of_members_needs_all_signatures_again(folder: Path) -> None:
    signed(folder)
    central.remove(folder / "center", "south")
    draft = central.draft_roster(folder / "center")
    assert central.collect_signatures(folder / "center", []).missing == ("east", "north")
    with pytest.raises(EnrolmentError, match="does not list south"):
        local.sign_roster(folder / "south", draft)
    with pytest.raises(EnrolmentError, match="south is not enrolled"):
        central.remove(folder / "center", "south")


def test_a_hospital_does_not_sign_a_draft_with_another_key_under_its_name(folder: Path) -> None:
    hospital_node.keys.create(folder / "false", "north", entropy=os.urandom, now=NOW)
    central.enrol(folder / "center", [local.write_enrolment(folder / "false", "call me instead")])
    draft = central.draft_roster(folder / "center")
    with pytest.raises(EnrolmentError, match="do not sign, call the coordinator"):
        local.sign_roster(folder / "north", draft)


def test_a_signature_on_another_roster_is_refused(folder: Path) -> None:
    old = local.sign_roster(folder / "north", central.draft_roster(folder / "center"))
    central.remove(folder / "center", "south")
    central.draft_roster(folder / "center")
    with pytest.raises(EnrolmentError, match="north signed another roster"):
        central.collect_signatures(folder / "center", [old])


def test_a_signature_by_another_key_is_refused(folder: Path) -> None:
    draft = central.draft_roster(folder / "center")
    forged = edit(local.sign_roster(folder / "north", draft), lambda f: f.update(id="south"))
    with pytest.raises(EnrolmentError, match="the signature of south does not verify"):
        central.collect_signatures(folder / "center", [forged])


@pytest.mark.parametrize("key", ["contact", "identity_key", "signature", "id"])
def test_an_edited_enrolment_is_refused(folder: Path, key: str) -> None:
    def change(file: dict[str, object]) -> None:
        old = str(file[key])
        file[key] = ("0" if old[0] != "0" else "1") + old[1:]

    path = edit(folder / "north" / "enrolment.json", change)
    with pytest.raises(EnrolmentError, match=r"enrolment\.json: "):
        central.enrol(folder / "center", [path])


def test_enrolling_is_all_or_nothing(folder: Path) -> None:
    central.remove(folder / "center", "east")
    bad = folder / "bad.json"
    bad.write_bytes(b"{}")
    with pytest.raises(EnrolmentError, match=r"bad\.json is not a file of this kind"):
        central.enrol(folder / "center", [folder / "east" / "enrolment.json", bad])
    assert not (folder / "center" / "members" / "east.json").exists()


def test_a_coordinator_does_not_enrol_as_a_hospital(folder: Path) -> None:
    path = folder / "own.json"
    path.write_bytes(write_enrolment(coordinator.keys.load(folder / "center"), ""))
    with pytest.raises(EnrolmentError, match="only hospitals enrol"):
        central.enrol(folder / "center", [path])


def test_two_hospitals_with_one_key_are_refused(folder: Path) -> None:
    """A copied key would let one hospital stand for two."""
    hospital_node.keys.create(folder / "copy", "west", entropy=os.urandom, now=NOW)
    (folder / "copy" / IDENTITY_KEY).write_bytes((folder / "north" / IDENTITY_KEY).read_bytes())
    central.enrol(folder / "center", [local.write_enrolment(folder / "copy", "")])
    with pytest.raises(EnrolmentError, match="share one identity key"):
        central.draft_roster(folder / "center")


def test_a_swapped_certificate_is_refused(folder: Path) -> None:
    complete = signed(folder)
    hospital_node.keys.create(folder / "false", "north", entropy=os.urandom, now=NOW)

    def swap(file: dict[str, object]) -> None:
        certificates = file["certificates"]
        assert isinstance(certificates, dict)
        certificates["north"] = (folder / "false" / "tls.crt").read_text()

    with pytest.raises(EnrolmentError, match="the certificate of north is not the one in the roster"):
        local.accept_roster(folder / "east", edit(complete, swap))


def test_a_roster_without_this_machine_is_refused(folder: Path) -> None:
    complete = signed(folder)
    hospital_node.keys.create(folder / "west", "west", entropy=os.urandom, now=NOW)
    with pytest.raises(EnrolmentError, match="does not hold the keys on this machine"):
        local.accept_roster(folder / "west", complete)
    coordinator.keys.create(folder / "other", entropy=os.urandom, now=NOW)
    with pytest.raises(EnrolmentError, match="is not there: run `roster`"):
        central.load_roster(folder / "other")
    (folder / "other" / "consortium.json").write_bytes(complete.read_bytes())
    with pytest.raises(EnrolmentError, match="does not hold the keys on this machine"):
        central.load_roster(folder / "other")


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"{}", b"[]", b'{"kind":"wardround consortium 1"}', b"\xff" * 100]
)
def test_what_is_no_roster_is_one_sentence(folder: Path, content: bytes) -> None:
    path = folder / "x.json"
    path.write_bytes(content)
    with pytest.raises(EnrolmentError, match=r"x\.json is not a file of this kind"):
        local.show_roster(path)
    with pytest.raises(EnrolmentError, match="cannot be read"):
        local.show_roster(folder / "absent.json")


def test_a_contact_cannot_write_to_the_terminal(folder: Path) -> None:
    with pytest.raises(EnrolmentError, match="printable"):
        local.write_enrolment(folder / "north", "Dr. \x1b[2JEvil")


def test_an_empty_consortium_is_refused(tmp_path: Path) -> None:
    coordinator.keys.create(tmp_path, entropy=os.urandom, now=NOW)
    with pytest.raises(EnrolmentError, match="nobody is enrolled"):
        central.draft_roster(tmp_path)
