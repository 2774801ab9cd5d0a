"""The table of settings in docs/settings.md is generated from the settings."""

from tools import settings_table


def test_the_document_holds_the_current_table() -> None:
    text = settings_table.FILE.read_text(encoding="utf-8")
    assert settings_table.BEGIN in text
    assert text == settings_table.written()
