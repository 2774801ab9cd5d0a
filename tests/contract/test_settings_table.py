"""The table of settings in the documents is the settings themselves."""

from pathlib import Path

import pytest

from tools import settings_table


@pytest.mark.parametrize("path", settings_table.FILES, ids=lambda path: path.name)
def test_the_documents_hold_the_table_as_it_is(path: Path) -> None:
    assert settings_table.BEGIN in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8") == settings_table.written(path)
