"""Key files: what is refused, and that no message or repr shows a key."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from privacy.link.member_keys import (
    IDENTITY_KEY,
    TLS_CERTIFICATE,
    TLS_KEY,
    KeyFileError,
    check_mode,
    key_files,
    read_key_files,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
FILES = key_files("north", "hospital", bytes(range(96)), NOW, 30)
OTHER = key_files("north", "hospital", bytes(range(1, 97)), NOW, 30)


def test_keys_round_trip() -> None:
    keys = read_key_files(FILES, "hospital")
    assert (keys.id, keys.role) == ("north", "hospital")
    assert keys.identity_private.reveal() == bytes(range(32))
    assert keys.member().certificate_sha256 == keys.certificate.sha256


def test_no_key_shows() -> None:
    keys = read_key_files(FILES, "hospital")
    for shown in (repr(keys), str(keys)):
        assert bytes(range(32)).hex() not in shown
        assert "PRIVATE" not in shown
        assert repr(bytes(range(8)))[2:-1] not in shown


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({IDENTITY_KEY: b"zz"}, "identity.key is damaged"),
        ({IDENTITY_KEY: b"\xff\xfe"}, "identity.key is damaged"),
        ({IDENTITY_KEY: b"00" * 31}, "identity.key is damaged"),
        ({TLS_KEY: b"nothing"}, "tls.key is damaged"),
        ({TLS_KEY: OTHER[TLS_KEY]}, "tls.key does not belong to tls.crt"),
        ({TLS_CERTIFICATE: OTHER[TLS_CERTIFICATE]}, "tls.key does not belong to tls.crt"),
        ({TLS_CERTIFICATE: b"nothing"}, "tls.crt: The certificate is not a readable"),
    ],
)
def test_damaged_or_mixed_files_are_refused(change: dict[str, bytes], words: str) -> None:
    with pytest.raises(KeyFileError, match=words) as refused:
        read_key_files({**FILES, **change}, "hospital")
    assert bytes(range(32)).hex() not in str(refused.value)


def test_keys_of_another_role_are_refused() -> None:
    with pytest.raises(KeyFileError, match="not made for the role coordinator"):
        read_key_files(FILES, "coordinator")


@pytest.mark.parametrize("member_id", ["", "North", "a b", "../up", "x" * 64])
def test_ids_that_a_roster_refuses(member_id: str) -> None:
    with pytest.raises(KeyFileError, match="cannot be an id"):
        key_files(member_id, "hospital", bytes(96), NOW, 30)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o601])
def test_lax_modes_are_refused(mode: int) -> None:
    check_mode("tls.key", 0o100600)
    with pytest.raises(KeyFileError, match="chmod 600"):
        check_mode("tls.key", 0o100000 | mode)
