"""The alert rules and the dashboard as they are deployed."""

import json
import re
from pathlib import Path
from typing import Any, Final

import yaml  # type: ignore[import-untyped]

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
RULES: Final = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARD: Final = DEPLOY / "grafana" / "dashboards" / "vultus.json"


def alerts() -> list[dict[str, Any]]:
    """Every alert rule."""
    (group,) = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return list(group["rules"])


def selectors() -> list[str]:
    """Every series that an alert rule selects."""
    pattern = r"(?:vultus_\w+|\bup)(?:\{[^}]*\})?"
    return sorted({selector for rule in alerts() for selector in re.findall(pattern, rule["expr"])})


def panels() -> list[dict[str, Any]]:
    """Every panel of the dashboard that shows data."""
    return [panel for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"] if panel["type"] != "row"]
