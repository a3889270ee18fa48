from __future__ import annotations

import base64

import pytest

from rota.domain.errors import InvalidInputError, SetupRequiredError
from rota.security.secrets.encryption import Cipher, KeyFile, load_keys

KEY = bytes(range(32))


def test_what_is_encrypted_comes_back_for_the_same_row_only():
    cipher = Cipher(KEY)
    sealed = cipher.encrypt("tökén", identity="connections/alice/gmail")

    assert cipher.decrypt(sealed, identity="connections/alice/gmail") == "tökén"
    with pytest.raises(SetupRequiredError):
        cipher.decrypt(sealed, identity="connections/bob/gmail")


def test_another_key_and_a_changed_byte_are_refused():
    sealed = Cipher(KEY).encrypt("token", identity="x")

    with pytest.raises(SetupRequiredError):
        Cipher(bytes(32)).decrypt(sealed, identity="x")
    with pytest.raises(SetupRequiredError):
        Cipher(KEY).decrypt(sealed[:-1] + bytes([sealed[-1] ^ 1]), identity="x")


def test_same_text_is_sealed_differently_each_time_and_the_key_is_not_shown():
    cipher = Cipher(KEY)

    assert cipher.encrypt("t", identity="x") != cipher.encrypt("t", identity="x")
    assert "\\x01\\x02" not in repr(cipher)


@pytest.mark.parametrize("text", [KEY.hex(), base64.b64encode(KEY).decode()])
def test_key_from_the_environment(tmp_path, text):
    assert load_keys(text, tmp_path / "key") == (KEY,)
    assert not (tmp_path / "key").exists()


@pytest.mark.parametrize("text", ["short", "zz" * 32, base64.b64encode(b"x" * 31).decode()])
def test_bad_key_is_named_and_not_shown(tmp_path, text):
    with pytest.raises(InvalidInputError) as caught:
        load_keys(text, tmp_path / "key")

    assert "ROTA_SECRET_KEY" in caught.value.message
    assert text not in caught.value.message


def test_key_file_is_made_once_for_its_owner_alone(tmp_path):
    first = load_keys(None, tmp_path / "key")

    assert load_keys(None, tmp_path / "key") == first
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_key_file_that_others_can_read_is_refused(tmp_path):
    load_keys(None, tmp_path / "key")
    (tmp_path / "key").chmod(0o644)

    with pytest.raises(InvalidInputError, match="chmod 600"):
        load_keys(None, tmp_path / "key")


OLD = bytes(range(1, 33))


def test_older_key_still_opens_and_the_newest_seals():
    sealed = Cipher(OLD).encrypt("token", identity="x")
    both = Cipher(KEY, (OLD,))

    assert both.open(sealed, identity="x") == ("token", False)
    anew = both.encrypt("token", identity="x")
    assert both.open(anew, identity="x") == ("token", True)
    assert Cipher(KEY).decrypt(anew, identity="x") == "token"


@pytest.mark.parametrize("between", [" ", ",", ", ", "\n"])
def test_keys_are_read_newest_first(tmp_path, between):
    text = f"{KEY.hex()}{between}{base64.b64encode(OLD).decode()}"

    assert load_keys(text, tmp_path / "key") == (KEY, OLD)


def test_key_that_is_added_is_known_to_who_had_read_the_file(tmp_path):
    (old,) = load_keys(None, tmp_path / "key")
    running = KeyFile(tmp_path / "key")
    assert running.keys() == (old,)

    KeyFile(tmp_path / "key").add()

    new, *others = running.keys()
    assert others == [old]
    assert new != old
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]
