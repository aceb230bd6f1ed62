"""Encrypts what must not stand readable in the database: API keys, webhook secrets, routing keys.

The first key encrypts, every key decrypts, so a rotation is: put a new key in front, rotate every token, drop the old
key. Neither a key nor a clear text ever appears in a message of this module.
"""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from pagerduty_sync.errors import SecretError, SettingsError

KEYS_VARIABLE = "PAGERDUTY_SYNC_ENCRYPTION_KEYS"


class SecretBox:
    """Encrypts and decrypts texts with a list of Fernet keys, newest first."""

    def __init__(self, keys: Sequence[str]) -> None:
        """Raise SettingsError, naming the variable, when there is no key or one is not a Fernet key."""
        if not keys:
            raise SettingsError(f"{KEYS_VARIABLE} is not set; it must list at least one Fernet key, newest first.")
        self._box = MultiFernet([_fernet(key, number) for number, key in enumerate(keys, start=1)])

    def __repr__(self) -> str:
        return "SecretBox(…)"

    def encrypt(self, text: str) -> str:
        """A token that only these keys open; the same text gives another token each time."""
        return self._box.encrypt(text.encode()).decode("ascii")

    def decrypt(self, token: str) -> str:
        """The text in a token; raises SecretError when none of the keys opens it."""
        try:
            return self._box.decrypt(token.encode()).decode()
        except (InvalidToken, UnicodeError):
            # Without "from": the chain would carry the token.
            raise SecretError(_UNREADABLE) from None

    def rotate(self, token: str) -> str:
        """The same text under the newest key; raises SecretError when none of the keys opens the token."""
        try:
            return self._box.rotate(token.encode()).decode("ascii")
        except (InvalidToken, UnicodeError):
            raise SecretError(_UNREADABLE) from None


_UNREADABLE = (
    f"A stored secret cannot be read with the keys at hand; put the key it was stored under back into {KEYS_VARIABLE}."
)


def generate_key() -> str:
    """A new Fernet key."""
    return Fernet.generate_key().decode("ascii")


def _fernet(key: str, number: int) -> Fernet:
    try:
        return Fernet(key.encode())
    except ValueError:
        raise SettingsError(
            f"{KEYS_VARIABLE} must list Fernet keys, newest first, and number {number} is not one."
        ) from None
