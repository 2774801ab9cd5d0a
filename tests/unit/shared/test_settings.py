"""Settings are read once from the environment; invalid ones are refused with one line."""

from pathlib import Path

import pytest

from shared.errors import SettingsError
from shared.settings import SharedSettings, load, names, refuse_unknown


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in names(SharedSettings):
        monkeypatch.delenv(name, raising=False)


def test_durations_are_given_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_LEASE", "2.5")
    assert load(SharedSettings).lease.total_seconds() == 2.5


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_LEASE", "")
    assert load(SharedSettings).lease.total_seconds() == 10


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("VULTUS_LEASE", "soon", "must be a number of seconds, such as 30 or 0.5 (got 'soon')"),
        ("VULTUS_LEASE", "-1", "greater than"),
        ("VULTUS_LEASE", "0.0001", "greater than"),
        ("VULTUS_LEASE", "1e9", "less than"),
        ("VULTUS_LEASE", "nan", "a number of seconds"),
        ("VULTUS_RESULT_TTL", "1e13", "less than"),
        ("VULTUS_RESULT_TTL", "1e-9", "greater than"),
        ("VULTUS_RETRY_WINDOW", "1e10", "less than"),
        ("VULTUS_LEASE", "inf", "a number of seconds"),
        ("VULTUS_BROKER_URL", "http://127.0.0.1:6379/0", "redis://host:6379/0"),
        ("VULTUS_BROKER_URL", "unix://", "unix:///path"),
        ("VULTUS_BROKER_URL", "redis://", "redis://host:6379/0"),
        ("VULTUS_BROKER_URL", "redis://[bad", "redis://host:6379/0"),
        ("VULTUS_BROKER_URL", "redis://host:x/0", "redis://host:6379/0"),
        ("VULTUS_SHARDS", "0", "greater than or equal to 1"),
        ("VULTUS_MAX_ATTEMPTS", "many", "valid integer"),
        ("VULTUS_DURABILITY", "maybe", "'always'"),
    ],
)
def test_an_invalid_value_gets_one_line_with_its_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as wrong:
        load(SharedSettings)
    line = str(wrong.value)
    assert line.startswith(f"{name} is wrong: ")
    assert words in line
    assert "\n" not in line


def test_all_invalid_values_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_LEASE", "x")
    monkeypatch.setenv("VULTUS_SHARDS", "y")
    with pytest.raises(SettingsError, match=r"VULTUS_SHARDS.*; VULTUS_LEASE|VULTUS_LEASE.*; VULTUS_SHARDS"):
        load(SharedSettings)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(load(SharedSettings), "shards", 2)  # noqa: B010 - the type checker refuses an assignment, as it should


def test_a_secret_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_LEDGER_URL", "redis://:hunter2@host/0")
    assert "hunter2" not in repr(load(SharedSettings))


def test_a_misspelled_variable_is_refused_with_the_closest_name() -> None:
    with pytest.raises(SettingsError, match="VULTUS_LAESE is not a setting; did you mean VULTUS_LEASE"):
        refuse_unknown(["PATH", "VULTUS_LAESE"], known=names(SharedSettings))


def test_known_and_unrelated_variables_are_accepted() -> None:
    refuse_unknown(["PATH", "VULTUS_LEASE"], known=names(SharedSettings))


def test_a_setting_can_be_read_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "url").write_text("redis://:hunter2@host/0\n", encoding="utf-8")
    (tmp_path / "lease").write_text("2.5", encoding="utf-8")
    monkeypatch.setenv("VULTUS_LEDGER_URL_FILE", str(tmp_path / "url"))
    monkeypatch.setenv("VULTUS_LEASE_FILE", str(tmp_path / "lease"))
    settings = load(SharedSettings)
    assert settings.ledger_url.get_secret_value() == "redis://:hunter2@host/0"
    assert settings.lease.total_seconds() == 2.5
    refuse_unknown(["VULTUS_LEDGER_URL_FILE"], known=names(SharedSettings))


@pytest.mark.parametrize(
    ("content", "also", "words"),
    [
        (None, False, "cannot be read (No such file or directory)"),
        (b"", False, "is empty"),
        (b"\xff\xfe\xfd", False, "cannot be read (not text)"),
        (b"redis://host/0", True, "VULTUS_LEDGER_URL and VULTUS_LEDGER_URL_FILE are both set"),
    ],
)
def test_an_invalid_settings_file_gets_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, also: bool, words: str
) -> None:
    if content is not None:
        (tmp_path / "url").write_bytes(content)
    monkeypatch.setenv("VULTUS_LEDGER_URL_FILE", str(tmp_path / "url"))
    if also:
        monkeypatch.setenv("VULTUS_LEDGER_URL", "redis://other/0")
    with pytest.raises(SettingsError) as wrong:
        load(SharedSettings)
    assert words in str(wrong.value)
    assert "\n" not in str(wrong.value)
