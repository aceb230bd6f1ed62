"""Building the application touches no server and shows no secret."""

from __future__ import annotations

import pytest

from pagerduty_sync.bootstrap import build
from pagerduty_sync.errors import SettingsError
from pagerduty_sync.handlers.quickstart import FirstAccount
from pagerduty_sync.settings import Settings
from pagerduty_sync.stores.integrations import Account
from pagerduty_sync.stores.secrets import generate_key

SECRET = "u+PLANTED0SECRET0KEY"


def test_it_is_built_while_every_server_is_down() -> None:
    key = generate_key()
    settings = Settings(
        database_url=f"postgresql://user:{SECRET}@127.0.0.1:1/none",
        redis_url=f"redis://:{SECRET}@127.0.0.1:1/0",
        encryption_keys=(key,),
    )
    application = build(settings)
    assert application.redis is application.redis
    shown = repr(vars(application)) + repr(application)
    application.close()
    assert SECRET not in shown
    assert key not in shown


@pytest.mark.parametrize(
    ("settings", "variable"),
    [
        (Settings(encryption_keys=(generate_key(),)), "PAGERDUTY_SYNC_DATABASE_URL"),
        (Settings(database_url="postgresql://127.0.0.1:1/none"), "PAGERDUTY_SYNC_ENCRYPTION_KEYS"),
    ],
    ids=["no database", "no encryption key"],
)
def test_what_is_missing_is_named(settings: Settings, variable: str) -> None:
    with pytest.raises(SettingsError, match=variable):
        build(settings)


def test_redis_is_asked_for_only_when_it_is_used() -> None:
    application = build(Settings(database_url="postgresql://127.0.0.1:1/none", encryption_keys=(generate_key(),)))
    with pytest.raises(SettingsError, match="PAGERDUTY_SYNC_REDIS_URL"):
        _ = application.redis
    application.close()


def test_what_carries_a_key_does_not_show_it() -> None:
    account = Account("Acme", "https://api.pagerduty.com", SECRET, "account", "bot@acme.example", "P1")
    first = FirstAccount("Acme", "https://api.pagerduty.com", SECRET, "bot@acme.example", "Mail")
    assert SECRET not in repr((account, first))
