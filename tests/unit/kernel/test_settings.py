from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from server.kernel.outbound_policy import DestinationRefused
from server.kernel.retention_policy import RetentionRule
from server.settings import Settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder without isthmus.toml of ours."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "pacs.example.org"])
def test_no_auth_is_refused_beyond_loopback(host: str) -> None:
    with pytest.raises(ValidationError, match="loopback"):
        Settings(auth=False, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_no_auth_is_allowed_on_loopback(host: str) -> None:
    assert not Settings(auth=False, host=host).auth


def test_argument_wins_over_environment_over_file_over_toml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "isthmus.toml").write_text('log_level = "error"\nport = 1\nlease_s = 11\nhost = "::1"\n')
    (tmp_path / "secret").write_text("2\n")
    monkeypatch.setenv("ISTHMUS_PORT_FILE", str(tmp_path / "secret"))
    monkeypatch.setenv("ISTHMUS_LEASE_S", "22")
    settings = Settings(log_level="debug")
    assert (settings.log_level, settings.lease_s, settings.port, settings.host) == ("debug", 22, 2, "::1")


def test_unknown_setting_in_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "isthmus.toml").write_text("porto = 1\n")
    with pytest.raises(ValidationError, match="porto"):
        Settings()


def test_lists_come_from_files_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "hosts").write_text('["a.example", "b.example"]')
    monkeypatch.setenv("ISTHMUS_ALLOWED_HOSTS_FILE", str(tmp_path / "hosts"))
    assert {"a.example", "b.example", "localhost"} <= Settings().hosts


def test_wrong_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ISTHMUS_MASTER_KEY", "tooshort")
    with pytest.raises(ValidationError) as raised:
        Settings()
    assert "tooshort" not in str(raised.value)


@pytest.mark.parametrize(
    ("given", "base", "prefix"),
    [
        ("https://pacs.example.org/", "https://pacs.example.org", ""),
        ("http://pacs.example.org:8443", "http://pacs.example.org:8443", ""),
        ("https://example.org/pacs/", "https://example.org/pacs", "/pacs"),
        ("https://example.org/a/b-1.2", "https://example.org/a/b-1.2", "/a/b-1.2"),
    ],
)
def test_public_base_is_an_origin_with_or_without_a_path(given: str, base: str, prefix: str) -> None:
    settings = Settings(public_base=given)
    assert (settings.base, settings.prefix) == (base, prefix)


@pytest.mark.parametrize(
    "given",
    [
        "pacs.example.org/dicom",
        "https://pacs.example.org?a",
        "https://pacs.example.org/a#b",
        "https://pacs.example.org/a/../b",
        "https://pacs.example.org/a//b",
        "https://pacs.example.org/%41",
        "https://pacs.example.org/fhir",
        "https://pacs.example.org/dicom-web/x",
    ],
)
def test_what_is_no_public_base(given: str) -> None:
    with pytest.raises(ValidationError):
        Settings(public_base=given)


def test_unknown_time_zone_is_refused() -> None:
    with pytest.raises(ValidationError, match="IANA"):
        Settings(timezone="Foo/Bar")


def test_master_key_is_made_once_and_private(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path / "data")
    key = settings.derive_key("purpose")
    assert settings.derive_key("purpose") == key != settings.derive_key("other")
    file = tmp_path / "data/master.key"
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["master.key"]


@pytest.mark.parametrize("count", [0, -1])
def test_number_of_servers_is_positive(count: int) -> None:
    with pytest.raises(ValidationError, match="server_workers"):
        Settings(server_workers=count)


def test_several_servers_need_postgresql() -> None:
    with pytest.raises(ValidationError, match="SQLite has one writer"):
        Settings(server_workers=2)
    url = "postgresql+asyncpg://localhost/isthmus"
    assert Settings(server_workers=2, database_url=url).server_workers == 2


def test_retention_rules_come_from_toml_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "isthmus.toml").write_text('[[retention_rules]]\nmodality = "MG"\nmin_age_days = 10\n')
    assert Settings().retention.rules == (RetentionRule(10, "MG"),)
    monkeypatch.setenv("ISTHMUS_RETENTION_RULES", '[{"min_age_days": 9, "dry_run": true}]')
    assert Settings().retention.rules == (RetentionRule(9, dry_run=True),)
    assert Settings().retention.audit_days is None


@pytest.mark.parametrize(
    "rule",
    [
        '{"min_age_days": 30, "modalty": "CT"}',  # else it were for every modality
        '{"modality": "CT"}',
        '{"min_age_days": 0}',
        '{"min_age_days": 30, "modality": " "}',
        '{"min_age_days": 30, "counted_from": "study"}',
    ],
)
def test_a_retention_rule_that_is_not_clear_is_refused(monkeypatch: pytest.MonkeyPatch, rule: str) -> None:
    monkeypatch.setenv("ISTHMUS_RETENTION_RULES", f"[{rule}]")
    with pytest.raises(ValidationError):
        Settings()


PROVIDER = {"issuer": "https://login.test/realms/one", "client_id": "here", "client_secret": "s"}


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://login.test"},
        {"issuer": "https://login.test/?realm=one"},
        {"issuer": "https://login.test/#"},
        {"issuer": "https://user@login.test"},
        {"issuer": "login.test"},
        {"client_id": None},
        {"client_secret": ""},
        {"scopes": "profile"},
        {"role_claim": ("roles",)},
        {"roles": {"doctor": "clinician"}},
        {"role_claim": ("roles",), "roles": {"doctor": "doctor"}},
        {"accounts": True},
        {"hosts": ("*",)},
        {"networks": ("10.0.0.1/8",)},
        {"issuer": None, "local_passwords": False},
    ],
)
def test_providers_that_are_not_taken(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as raised:
        Settings(**{f"federation_{name}": value for name, value in {**PROVIDER, **wrong}.items()})
    assert "federation" in str(raised.value)


def test_the_provider() -> None:
    assert Settings().provider is None
    more = {
        "issuer": (there := "https://Login.test:8443/realms/one"),
        "hosts": ("keys.test",),
        "networks": ("10.0.0.0/8",),
    }
    given: Any = {f"federation_{name}": value for name, value in {**PROVIDER, **more}.items()}
    provider = Settings(**given).provider
    assert provider is not None
    assert provider.issuer == there
    for url in ("https://login.test:8443/keys", "https://keys.test/keys"):
        assert provider.outbound.require_allowed(url)
    for url in ("https://login.test/keys", "http://keys.test/keys"):
        with pytest.raises(DestinationRefused):
            provider.outbound.require_allowed(url)
    assert "secret" not in repr(provider)
