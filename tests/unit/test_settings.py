"""Each setting has a default, a line in `deploy/env.example`, and a sentence for a value that is wrong."""

import base64
import dataclasses
import re
from pathlib import Path

import pytest

from pagerduty_sync.errors import SettingsError
from pagerduty_sync.settings import PREFIX, Settings, variable

EXAMPLE = Path(__file__).parents[2] / "deploy" / "env.example"
KEY = base64.urlsafe_b64encode(b"k" * 32).decode()
OTHER_KEY = base64.urlsafe_b64encode(b"o" * 32).decode()


def test_nothing_set_gives_the_defaults() -> None:
    assert Settings.from_environment({}) == Settings()


def test_an_empty_variable_counts_as_not_set() -> None:
    env = {variable(field.name): "  " for field in dataclasses.fields(Settings)}

    assert Settings.from_environment(env) == Settings()


def test_the_example_names_every_setting_with_its_default_and_nothing_else() -> None:
    lines = re.findall(rf"^({PREFIX}\w+)=(.*)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)

    assert sorted(name for name, _ in lines) == sorted(variable(field.name) for field in dataclasses.fields(Settings))
    assert Settings.from_environment(dict(lines)) == Settings()
    for name, value in lines:
        field = name.removeprefix(PREFIX).lower()
        assert bool(value) == bool(getattr(Settings(), field)), f"{name} has a default and the example does not say it"


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("WEB_PORT", "9000", 9000),
        ("WEB_HOST", "::1", "::1"),
        ("DATA_DIR", "/srv/sync", Path("/srv/sync")),
        ("PUBLIC_URL", "https://cases.example.com/", "https://cases.example.com"),
        ("UNACKNOWLEDGE_CASES", "no", False),
        ("UNACKNOWLEDGE_CASES", "TRUE", True),
        ("RESOLUTION_NOTES", "log_entry", "log_entry"),
        ("WEBHOOK_COMMIT_SECONDS", "2.5", 2.5),
        ("LOG_LEVEL", "DEBUG", "debug"),
        ("ENCRYPTION_KEYS", f"{KEY}, {OTHER_KEY}", (KEY, OTHER_KEY)),
        ("DATABASE_URL", "postgres://u:p@h/d", "postgres://u:p@h/d"),
        ("REDIS_URL", "unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("INBOX_RETENTION_DAYS", "3", 3),
    ],
)
def test_a_good_value_is_read(name: str, text: str, value: object) -> None:
    settings = Settings.from_environment({PREFIX + name: text})

    assert getattr(settings, name.lower()) == value


@pytest.mark.parametrize(
    ("name", "text", "cure"),
    [
        ("WEB_PORT", "http", "whole number from 1 to 65535"),
        ("WEB_PORT", "0", "from 1 to 65535"),
        ("WEB_PORT", "70000", "from 1 to 65535"),
        ("FLOWER_PORT", "-1", "whole number"),
        ("SIMULATOR_PORT", "8001.5", "whole number"),
        ("WEB_PORT", "tcp://10.0.0.1:8000", "enableServiceLinks"),
        ("WEB_HOST", "http://localhost", "host name or address"),
        ("PUBLIC_URL", "cases.example.com", "https address"),
        ("PUBLIC_URL", "https://", "https address"),
        ("PUBLIC_URL", "https://cases.example.com/?a=b", "plain"),
        ("PUBLIC_URL", "https://cases.example.com:port", "plain"),
        ("DATABASE_URL", "mysql://u:p@h/d", "postgresql://"),
        ("DATABASE_URL", "postgresql://", "postgresql://"),
        ("REDIS_URL", "localhost:6379", "redis://"),
        ("ENCRYPTION_KEYS", "not-a-key", "number 1"),
        ("ENCRYPTION_KEYS", f"{KEY},short", "number 2"),
        ("FLOWER_BASIC_AUTH", "justaname", "user:password"),
        ("FLOWER_BASIC_AUTH", "admin:short", "8 characters"),
        ("EVENTS_SECRET", "short", "16 characters"),
        ("REQUESTS_PER_MINUTE", "0", "whole number"),
        ("INBOX_RETENTION_DAYS", "2", "from 3"),
        ("DELIVERIES_RETENTION_DAYS", "0", "from 1"),
        ("LEASE_SECONDS", "1", "from 5"),
        ("SWEEP_SECONDS", "0", "from 1"),
        ("RECONCILE_SECONDS", "soon", "whole number"),
        ("RETRY_HOURS", "9" * 40, "whole number"),
        ("UNACKNOWLEDGE_CASES", "maybe", "true or false"),
        ("RESOLUTION_NOTES", "hidden", "visible, log_entry"),
        ("WEBHOOK_COMMIT_SECONDS", "5", "hangs up after 5 seconds"),
        ("MAX_WEBHOOK_BYTES", "10", "from 1024"),
        ("LOG_LEVEL", "loud", "debug, info, warning, error"),
    ],
)
def test_a_bad_value_is_refused_with_its_name_and_the_cure(name: str, text: str, cure: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        Settings.from_environment({PREFIX + name: text})

    assert str(refusal.value).startswith(PREFIX + name)
    assert cure in str(refusal.value)


def test_links_point_at_the_port_the_web_listens_on_unless_told_otherwise() -> None:
    assert Settings.from_environment({"PAGERDUTY_SYNC_WEB_PORT": "9000"}).public_url == "http://127.0.0.1:9000"


class TestSecrets:
    SECRETS = ("DATABASE_URL", "REDIS_URL", "ENCRYPTION_KEYS", "FLOWER_BASIC_AUTH", "EVENTS_SECRET")

    def test_a_secret_may_stand_in_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "keys"
        file.write_text(f"{KEY}\n{OTHER_KEY}\n")

        settings = Settings.from_environment({"PAGERDUTY_SYNC_ENCRYPTION_KEYS_FILE": str(file)})

        assert settings.encryption_keys == (KEY, OTHER_KEY)

    def test_only_a_secret_may(self, tmp_path: Path) -> None:
        file = tmp_path / "port"
        file.write_text("9000")

        assert Settings.from_environment({"PAGERDUTY_SYNC_WEB_PORT_FILE": str(file)}).web_port == 8000

    @pytest.mark.parametrize("name", SECRETS)
    def test_a_file_that_is_not_there_is_named(self, name: str) -> None:
        with pytest.raises(SettingsError, match=rf"^{PREFIX}{name}_FILE names /nowhere/secret, which cannot be read"):
            Settings.from_environment({f"{PREFIX}{name}_FILE": "/nowhere/secret"})

    def test_an_empty_file_is_named(self, tmp_path: Path) -> None:
        file = tmp_path / "secret"
        file.touch()

        with pytest.raises(SettingsError, match="which is empty"):
            Settings.from_environment({"PAGERDUTY_SYNC_EVENTS_SECRET_FILE": str(file)})

    def test_both_ways_at_once_are_refused(self) -> None:
        with pytest.raises(SettingsError, match="both set"):
            Settings.from_environment(
                {"PAGERDUTY_SYNC_EVENTS_SECRET": "s" * 20, "PAGERDUTY_SYNC_EVENTS_SECRET_FILE": "/run/secret"}
            )

    def test_no_secret_shows_in_the_repr(self) -> None:
        poison = Settings(
            database_url="postgresql://poison",
            redis_url="redis://poison",
            encryption_keys=("poison",),
            flower_basic_auth="admin:poison",
            events_secret="poison",
        )

        assert "poison" not in repr(poison)

    @pytest.mark.parametrize("name", SECRETS)
    def test_no_secret_shows_in_a_refusal(self, name: str) -> None:
        with pytest.raises(SettingsError) as refusal:
            Settings.from_environment({PREFIX + name: "poison"})

        assert "poison" not in str(refusal.value)


@pytest.mark.parametrize("name", ["database_url", "redis_url", "encryption_keys"])
def test_what_a_process_cannot_do_without_is_named_when_it_is_missing(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"^{variable(name)} is not set"):
        getattr(Settings(), f"require_{name}")()
