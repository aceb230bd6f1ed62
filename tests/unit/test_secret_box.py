"""Secrets at rest: what the box opens, what it refuses, and what it never says."""

import pytest

from pagerduty_sync.errors import SecretError, SettingsError
from pagerduty_sync.stores.secrets import SecretBox, generate_key

OLD, NEW, STRANGE = generate_key(), generate_key(), generate_key()


@pytest.mark.parametrize("text", ["", "u+_szhL…", "x" * 5_000, "two\nlines"])
def test_what_goes_in_comes_out(text: str) -> None:
    box = SecretBox([NEW])
    assert box.decrypt(box.encrypt(text)) == text


def test_a_token_does_not_show_its_text_and_is_never_the_same_twice() -> None:
    box = SecretBox([NEW])
    first, second = box.encrypt("poison"), box.encrypt("poison")
    assert first != second
    assert "poison" not in first


def test_an_older_key_still_opens_and_the_newest_encrypts() -> None:
    stored = SecretBox([OLD]).encrypt("webhook secret")
    both = SecretBox([NEW, OLD])
    assert both.decrypt(stored) == "webhook secret"
    assert SecretBox([NEW]).decrypt(both.encrypt("api key")) == "api key"


def test_after_rotation_the_old_key_can_go() -> None:
    stored = SecretBox([OLD]).encrypt("webhook secret")
    rotated = SecretBox([NEW, OLD]).rotate(stored)
    assert SecretBox([NEW]).decrypt(rotated) == "webhook secret"


@pytest.mark.parametrize("token", ["", "junk", "ö", "\udc80", "gAAAA" * 20])
def test_junk_cannot_be_read_and_the_error_does_not_repeat_it(token: str) -> None:
    box = SecretBox([NEW])
    for act in (box.decrypt, box.rotate):
        with pytest.raises(SecretError) as raised:
            act(token)
        assert raised.value.__cause__ is None
        assert "PAGERDUTY_SYNC_ENCRYPTION_KEYS" in str(raised.value)
        assert len(token) < 4 or token not in str(raised.value)


def test_another_installation_s_token_cannot_be_read() -> None:
    with pytest.raises(SecretError):
        SecretBox([NEW, OLD]).decrypt(SecretBox([STRANGE]).encrypt("theirs"))


@pytest.mark.parametrize("keys", [[], ["short"], [NEW, "not a key"], ["ö" * 44]])
def test_a_wrong_list_of_keys_is_refused_by_the_name_of_its_variable(keys: list[str]) -> None:
    with pytest.raises(SettingsError, match="PAGERDUTY_SYNC_ENCRYPTION_KEYS") as raised:
        SecretBox(keys)
    assert not any(key in str(raised.value) for key in keys)


def test_the_box_does_not_print_its_keys() -> None:
    assert NEW not in repr(SecretBox([NEW]))
