"""The policy, and what is installed for what it permits."""

from __future__ import annotations

from datetime import date

import pytest

from hospital_node.doctor.rules import judge_packages
from privacy.ledgers.policy_file import parse_policy
from tests.doctor_setting import POLICY, Setting
from tests.study_files import study

POLICY_TEXT = POLICY.format(anchor="")


def test_a_policy_that_holds(setting: Setting) -> None:
    found = setting.outcome("policy").finding
    assert (found.result, "2999-12-31" in found.found) == ("ok", True)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("epsilon_total = 8", "epsilon_total = ", "is not TOML"),
        ("epsilon_total = 8", "epsilon_totl = 8", "did you mean 'epsilon_total'"),
        ("delta_total = 1e-5\n", "", "lacks delta_total"),
    ],
)
def test_a_broken_policy(setting: Setting, old: str, new: str, words: str) -> None:
    assert old in POLICY_TEXT
    setting.home.policy.write_text(POLICY_TEXT.replace(old, new))
    outcomes = setting.outcomes(setting.case(), "policy", "anchor")
    found = outcomes["policy"].finding
    assert (found.result, words in found.found) == ("failed", True)
    assert "deploy/actg175_policy.toml" in found.remedy
    assert outcomes["anchor"].since == "policy"


def test_no_policy_yet(setting: Setting) -> None:
    setting.home.policy.unlink()
    assert "is not there" in setting.outcome("policy").finding.found


@pytest.mark.parametrize(
    ("expires", "result"), [(date(2020, 1, 1), "failed"), (date.today(), "warn"), (date(2999, 1, 1), "ok")]
)
def test_the_last_day_of_a_policy(setting: Setting, expires: date, result: str) -> None:
    setting.home.policy.write_text(POLICY_TEXT.replace("2999-12-31", expires.isoformat()))
    found = setting.outcome("policy").finding
    assert found.result == result
    assert result == "ok" or "`expires`" in found.remedy


def test_what_the_families_need() -> None:
    networks = parse_policy(
        POLICY_TEXT.replace('["piecewise_exponential"]', '["piecewise_exponential", "mlp"]'), "policy.toml"
    )
    linear = parse_policy(POLICY_TEXT, "policy.toml")
    deep = study(('family = "piecewise_exponential"', 'family = "mlp"\nhidden = [8, 8]'))

    def nothing(_: str) -> bool:
        return False

    assert judge_packages(linear, None, nothing).result == "ok"
    assert judge_packages(networks, None, lambda _: True).result == "ok"
    found = judge_packages(networks, None, nothing)
    assert (found.result, "torch, opacus" in found.found) == ("warn", True)
    found = judge_packages(networks, deep, nothing)
    assert (found.result, "pip install" in found.remedy) == ("failed", True)
    sdv = parse_policy(POLICY_TEXT.replace('["generalize"]', '["synthetic_sdv"]'), "policy.toml")
    assert "'.[hospital,sdv]'" in judge_packages(sdv, None, nothing).remedy


def test_a_policy_in_another_encoding(setting: Setting) -> None:
    text = setting.home.policy.read_bytes()
    setting.home.policy.write_bytes(b"\xef\xbb\xbf" + text)
    assert setting.outcome("policy").finding.result == "ok"
    setting.home.policy.write_bytes(text + b"# f\xfcr\n")
    found = setting.outcome("policy").finding
    assert (found.result, "is not UTF-8" in found.found) == ("failed", True)
