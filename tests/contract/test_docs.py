"""The documents cover every error code, call and setting."""

import re
import tomllib
from pathlib import Path

import pytest

from api.health.schemas import VERSION
from api.http.problems import TABLE
from api.jobs.schemas import JOB_ID, MAX_METADATA_BYTES
from api.settings.api import ApiSettings
from shared.errors import ErrorCode
from shared.jobs import is_job_id
from shared.net.urls import MAX_URL
from shared.settings import PREFIX, names
from tests.contract.test_openapi import OPERATIONS
from worker.courier.settings import CourierSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_error_table_matches_the_code() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| [^|]+ \| [^|]+ \|$", read("errors.md"), flags=re.MULTILINE)
    assert {code: int(status) for code, status in rows} == {code.value: TABLE[code].status for code in ErrorCode}


def test_every_call_has_a_heading_and_no_other_call_has_one() -> None:
    assert set(re.findall(r"^### `([A-Z]+ /\S*)`$", read("api.md"), flags=re.MULTILINE)) == set(OPERATIONS)


def test_every_setting_is_described() -> None:
    text = read("settings.md")
    assert {name for name in names(ApiSettings, WorkerSettings, CourierSettings) if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("name", ["api.md", "errors.md"])
def test_every_mentioned_setting_exists(name: str) -> None:
    assert set(re.findall(rf"{PREFIX}[A-Z_]+", read(name))) <= names(ApiSettings, WorkerSettings, CourierSettings)


def test_the_documented_limits_are_the_defaults() -> None:
    limits = read("api.md")
    settings = {name: field.default for name, field in ApiSettings.model_fields.items()}
    for row in (
        f"| {settings['max_image_bytes'] // 2**20} MiB | `VULTUS_MAX_IMAGE_BYTES` |",
        f"| {settings['max_pixels']:,} pixels, ",
        f"| {settings['queue_limit']}, then 503 `queue_full` | `VULTUS_QUEUE_LIMIT` |",
        f"| {settings['wait_limit'].seconds} s; a longer wait is shortened | `VULTUS_WAIT_LIMIT` |",
        f"| {settings['sync_timeout'].seconds} s, then 504 `wait_timeout` | `VULTUS_SYNC_TIMEOUT` |",
        f"| URL of an image | {MAX_URL:,} characters |",
        f"| {settings['image_url_timeout'].seconds} s | `VULTUS_IMAGE_URL_TIMEOUT` |",
        f"| {settings['image_url_parallel']}; the others wait | `VULTUS_IMAGE_URL_PARALLEL` |",
        f"| `metadata` | {MAX_METADATA_BYTES} bytes as JSON |",
        f"above `VULTUS_MATCH_THRESHOLD` ({settings['match_threshold']})",
    ):
        assert row in limits


def test_the_examples_show_a_valid_job_id() -> None:
    shown = set(re.findall(r"job_[0-9a-f]{8,}", read("api.md"))) | {JOB_ID}
    assert all(is_job_id(job_id) for job_id in shown)


def test_the_service_and_the_project_have_the_same_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["version"] == VERSION
