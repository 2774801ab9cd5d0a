"""Write the table of settings into README.md and docs/settings.md, from the settings themselves."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from api.settings import ApiSettings
from shared.settings import PREFIX, SharedSettings
from tools.setup import ROOT
from worker.settings import WorkerSettings

BEGIN: Final = "<!-- settings: written by `python -m tools.settings_table` -->"
END: Final = "<!-- settings end -->"
FILES: Final = (ROOT / "README.md", ROOT / "docs" / "settings.md")
UNITS: Final = {"_bytes": "bytes", "_pixels": "pixels", "_threshold": "cosine", "_limit": "jobs"}


def table() -> str:
    """The table in Markdown, one row for each environment variable."""
    rows = ["| variable | read by | default | unit | meaning |", "|---|---|---|---|---|"]
    groups = ((SharedSettings, "both"), (ApiSettings, "gateway"), (WorkerSettings, "worker"))
    for kind, reader in groups:
        for name, field in kind.model_fields.items():
            if kind is SharedSettings or name not in SharedSettings.model_fields:
                rows.append(_row(name, field, reader))
    return "\n".join(_merged(rows))


def _row(name: str, field: FieldInfo, reader: str) -> str:
    return f"| `{PREFIX}{name.upper()}` | {reader} | {_default(field)} | {_unit(name, field)} | {field.description} |"


def _merged(rows: list[str]) -> list[str]:
    """A setting that gateway and worker both read gets one row."""
    seen: dict[str, str] = {}
    for row in rows:
        key = row.split("|")[1]
        seen[key] = seen[key].replace("| gateway |", "| both |") if key in seen else row
    return list(seen.values())


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, timedelta):
        return f"`{value.total_seconds():g}`"
    if isinstance(value, SecretStr):
        return f"`{value.get_secret_value()}`"
    return f"`{value}`"


def _unit(name: str, field: FieldInfo) -> str:
    if isinstance(field.default, timedelta):
        return "seconds"
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")


def written(path: Path) -> str:
    """The text of a file with the table as it should be."""
    text = path.read_text(encoding="utf-8")
    return re.sub(
        rf"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL
    )


def main() -> int:
    """Write both files."""
    for path in FILES:
        path.write_text(written(path), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
