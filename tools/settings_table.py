"""Generate the table of settings in docs/settings.md from the settings classes."""

import re
import sys
from datetime import timedelta
from typing import Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from api.settings.api import ApiSettings
from shared.settings import PREFIX, SharedSettings
from shared.webhooks.settings import WebhookSettings
from tools.setup import ROOT
from worker.courier.settings import CourierSettings
from worker.settings import WorkerSettings

BEGIN: Final = "<!-- settings: written by `python -m tools.settings_table` -->"
END: Final = "<!-- settings end -->"
FILE: Final = ROOT / "docs" / "settings.md"
UNITS: Final = {"_bytes": "bytes", "_pixels": "pixels", "_threshold": "cosine", "_limit": "jobs"}


def table() -> str:
    """Return the table in Markdown, one row per environment variable."""
    rows = ["| variable | read by | default | unit | meaning |", "|---|---|---|---|---|"]
    groups = (
        (SharedSettings, "all"),
        (WebhookSettings, "gateway, courier"),
        (ApiSettings, "gateway"),
        (WorkerSettings, "worker"),
        (CourierSettings, "courier"),
    )
    for kind, reader in groups:
        for name, field in kind.model_fields.items():
            if kind is SharedSettings or name not in SharedSettings.model_fields:  # shared settings are listed once
                rows.append(_row(name, field, reader))
    return "\n".join(_merged(rows))


def _row(name: str, field: FieldInfo, reader: str) -> str:
    return f"| `{PREFIX}{name.upper()}` | {reader} | {_default(field)} | {_unit(name, field)} | {field.description} |"


def _merged(rows: list[str]) -> list[str]:
    """Merge the rows of a setting that several processes read into the first one."""
    seen: dict[str, str] = {}
    for row in rows:
        key, reader = (cell.strip() for cell in row.split("|")[1:3])
        if key not in seen:
            seen[key] = row
        elif reader not in seen[key].split("|")[2]:
            cells = seen[key].split("|")
            seen[key] = "|".join([*cells[:2], f"{cells[2].rstrip()}, {reader} ", *cells[3:]])
    return list(seen.values())


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "none" if value is None or value in ((), {}) else f"`{_formatted(value)}`"


def _formatted(value: object) -> str:
    """Format a value as its environment variable would contain it."""
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.15g}"
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    if isinstance(value, tuple):
        return ", ".join(map(_formatted, value))
    return str(value)


def _unit(name: str, field: FieldInfo) -> str:
    values = field.default if isinstance(field.default, tuple) else (field.default,)
    if any(isinstance(value, timedelta) for value in values):
        return "seconds"
    return next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")


def written() -> str:
    """Return the document with an up-to-date table."""
    text = FILE.read_text(encoding="utf-8")
    return re.sub(
        rf"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: f"{BEGIN}\n{table()}\n{END}", text, flags=re.DOTALL
    )


def main() -> int:
    """Write the document."""
    FILE.write_text(written(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
