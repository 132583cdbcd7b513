"""Settings: environment and milepost.toml, which wins, and what is said of a wrong one."""

import os
from pathlib import Path
from typing import Any

import pytest

from milepost.config import Config
from milepost.domain.errors import Misconfigured


@pytest.fixture(autouse=True)
def nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty working directory, and no setting in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MILEPOST_")]:
        monkeypatch.delenv(name)


def test_without_anything_the_defaults_hold_and_nothing_authenticates() -> None:
    config = Config.load()
    assert (config.database_url, config.host, config.port) == ("sqlite:///milepost.db", "127.0.0.1", 8480)
    assert config.bwp_api_url == "https://api.buywithprime.amazon.com"
    assert not config.has_webhook_authentication


def test_milepost_toml_in_the_working_directory_is_read() -> None:
    Path("milepost.toml").write_text("""
        port = 9000
        holidays = ["2025-12-25", "2026-01-01"]

        [conditions]
        never_scanned_business_days = 5

        [[webhook_credentials]]
        username = "merchant-a"
        password = "pass-a"
        business_products = ["bp-a"]

        [[oauth_clients]]
        client_id = "client-b"
        client_secrets = ["new", "old"]
        business_products = ["bp-b"]

        [[api_clients]]
        business_product = "bp-a"
        client_id = "api-a"
        client_secret = "api-secret-a"
    """)
    config = Config.load()
    assert config.port == 9000
    assert config.holidays == ("2025-12-25", "2026-01-01")
    assert config.conditions == {"never_scanned_business_days": 5}
    (basic,) = config.webhook_credentials
    assert (basic.username, basic.business_products) == ("merchant-a", ("bp-a",))
    assert basic.password.get_secret_value() == "pass-a"
    (oauth,) = config.oauth_clients
    assert [secret.get_secret_value() for secret in oauth.client_secrets] == ["new", "old"]
    (api,) = config.api_clients
    assert (api.business_product, api.target_id, api.api_url) == ("bp-a", None, None)
    assert config.has_webhook_authentication


@pytest.mark.parametrize(
    ("settings", "authenticates", "queue"),
    [
        ({"webhook_api_key": "k"}, True, False),
        ({"webhook_api_keys": [{"keys": ["k"]}]}, True, False),
        ({"sqs_queue_url": "https://sqs.example/1/q"}, False, True),
        ({"sqs_queues": [{"url": "https://sqs.example/1/q"}]}, False, True),
        ({"webhook_username": "u"}, False, False),
    ],
)
def test_keys_authenticate_webhooks_and_queues_do_not(
    settings: dict[str, Any], authenticates: bool, queue: bool
) -> None:
    config = Config.load(**settings)
    assert (config.has_webhook_authentication, config.has_queue) == (authenticates, queue)


def test_the_environment_wins_over_the_file_and_arguments_over_both(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("milepost.toml").write_text('port = 9000\nhost = "0.0.0.0"\nlog_level = "debug"')
    monkeypatch.setenv("MILEPOST_PORT", "9001")
    monkeypatch.setenv("MILEPOST_HOST", "127.0.0.2")
    config = Config.load(host="127.0.0.3", log_level=None)
    assert (config.port, config.host, config.log_level) == (9001, "127.0.0.3", "debug")


def test_lists_come_comma_separated_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_EGRESS_ALLOW", "10.0.0.0/8, 192.168.1.0/24,")
    assert Config.load().egress_allow == ("10.0.0.0/8", "192.168.1.0/24")


def test_milepost_config_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "other.toml"
    other.write_text("port = 9002")
    Path("milepost.toml").write_text("port = 9000")
    monkeypatch.setenv("MILEPOST_CONFIG", str(other))
    assert Config.load().port == 9002


def test_a_named_file_that_is_missing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_CONFIG", "missing.toml")
    with pytest.raises(Misconfigured, match=r"MILEPOST_CONFIG names missing\.toml"):
        Config.load()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 9000", "MILEPOST_PROT"),
        ('[[webhook_credentials]]\nusername = "a"\npasswort = "b"', r"MILEPOST_WEBHOOK_CREDENTIALS\.0\."),
        ('[[webhook_credentials]]\nusername = "a"\npassword = ""', r"CREDENTIALS\.0\.password"),
        ('[[oauth_clients]]\nclient_id = "a"\nclient_secrets = []', r"OAUTH_CLIENTS\.0\.client_secrets"),
        ('[[oauth_clients]]\nclient_id = "a"\nclient_secrets = [""]', r"OAUTH_CLIENTS\.0\.client_secrets\.0"),
        ('webhook_api_key_header = "x api key"', "MILEPOST_WEBHOOK_API_KEY_HEADER"),
        ('[[webhook_api_keys]]\nheader = "Schlüssel"\nkeys = ["k"]', r"WEBHOOK_API_KEYS\.0\.header"),
        ("[[webhook_api_keys]]\nkeys = []", r"WEBHOOK_API_KEYS\.0\.keys"),
        ("port = 70000", "MILEPOST_PORT"),
        ("port = ", "wrong settings"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(text: str, said: str) -> None:
    Path("milepost.toml").write_text(text)
    with pytest.raises(Misconfigured, match=said):
        Config.load()


def test_every_wrong_setting_of_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILEPOST_PORT", "many")
    monkeypatch.setenv("MILEPOST_QUERIES_PER_MINUTE", "0")
    with pytest.raises(Misconfigured) as caught:
        Config.load()
    assert "MILEPOST_PORT" in caught.value.detail
    assert "MILEPOST_QUERIES_PER_MINUTE" in caught.value.detail


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that a compose file passes on unset must not become an empty password."""
    monkeypatch.setenv("MILEPOST_WEBHOOK_USERNAME", "amazon")
    monkeypatch.setenv("MILEPOST_WEBHOOK_PASSWORD", "")
    monkeypatch.setenv("MILEPOST_API_KEY", "")
    config = Config.load()
    assert (config.webhook_password, config.api_key) == (None, None)
    assert not config.has_webhook_authentication


def test_secrets_are_in_no_text_of_the_settings_and_in_no_complaint(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WEBHOOK_PASSWORD", "OAUTH_CLIENT_SECRET", "API_KEY", "BWP_CLIENT_SECRET"):
        monkeypatch.setenv(f"MILEPOST_{name}", "hunter2")
    Path("milepost.toml").write_text(
        '[[api_clients]]\nbusiness_product = "a"\nclient_id = "b"\nclient_secret = "hunter2"'
    )
    assert "hunter2" not in repr(Config.load())
    monkeypatch.setenv("MILEPOST_PORT", "many")
    with pytest.raises(Misconfigured) as caught:
        Config.load()
    assert "hunter2" not in str(caught.value)


def test_tracking_secrets_overlap_and_none_of_them_may_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Config.load().tracking_secrets == ()
    new, old = "n" * 32, "o" * 40
    monkeypatch.setenv("MILEPOST_TRACKING_SECRET", f" {new}, {old}")
    assert Config.load().tracking_secrets == (new, old)
    for wrong in ("n" * 31, f"{new},short", " , "):
        monkeypatch.setenv("MILEPOST_TRACKING_SECRET", wrong)
        with pytest.raises(Misconfigured, match="MILEPOST_TRACKING_SECRET") as refused:
            Config.load()
        assert "n" * 31 not in str(refused.value), "a secret is never shown"


def test_the_language_of_notifications_is_one_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for tag in ("es", "es-MX", "EN_us"):
        monkeypatch.setenv("MILEPOST_NOTIFICATION_LOCALE", tag)
        assert Config.load().notification_locale == tag
    for tag in ("de", "english", "e"):
        monkeypatch.setenv("MILEPOST_NOTIFICATION_LOCALE", tag)
        with pytest.raises(Misconfigured, match=r"NOTIFICATION_LOCALE.*en, es"):
            Config.load()
