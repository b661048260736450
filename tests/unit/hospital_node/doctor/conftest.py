"""A consortium made once, and a hospital of it that each test may spoil."""

from pathlib import Path

import pytest

from tests.doctor_setting import Setting, make_setting
from tests.process.link_setup import Consortium, make_consortium


@pytest.fixture(scope="session")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return make_consortium(tmp_path_factory.mktemp("consortium"))


@pytest.fixture
def setting(tmp_path: Path, consortium: Consortium) -> Setting:
    return make_setting(tmp_path, consortium)
