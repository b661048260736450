"""A consortium, the hand that moves its coordinator, and the place of a consent register: new for every test."""

from pathlib import Path

import pytest

from hospital_node.consent_store import RegisterPlace
from tests.consortium import Hand, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path)


@pytest.fixture
def hand(world: World) -> Hand:
    return Hand(world).join()


@pytest.fixture
def place(tmp_path: Path) -> RegisterPlace:
    return RegisterPlace(tmp_path / "consents.db", tmp_path / "consent.key")
