"""What is not installed is named, with the command that installs it."""

import pytest

from hospital_node.doctor import install
from tests.doctor_setting import Setting


def test_a_whole_installation(setting: Setting) -> None:
    found = setting.outcome("install").finding
    assert found.result == "ok"
    assert found.found.startswith("wardround ")


def test_a_missing_package_is_named(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "MODULES", {**install.MODULES, "no_such_module": "no-such-package"})
    found = setting.outcome("install").finding
    assert (found.result, found.found) == ("failed", "not installed: no-such-package")
    assert "pip install -c deploy/constraints.txt" in found.remedy


def test_an_old_python_is_named() -> None:
    found = install.judge((3, 9), [], "0.1.0", "1.81.0")
    assert found.result == "failed"
    assert "3.11 or newer" in found.remedy
