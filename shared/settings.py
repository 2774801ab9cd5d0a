"""Settings that gateway and worker share, and the one way to read settings from the environment."""

import difflib
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.errors import SettingsError

PREFIX = "VULTUS_"
FILE = "_FILE"
"""Behind the name of a setting: the file that holds its value."""


def listed(text: str) -> tuple[str, ...]:
    """The parts between commas, without blanks around them; empty ones are none."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def from_text(read: Callable[[str], object]) -> BeforeValidator:
    """Read the text that the environment has; anything else is left for the type to refuse."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _seconds(text: str) -> timedelta:
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        msg = "a number of seconds, such as 30 or 0.5"
        raise ValueError(msg) from None


SHORTEST: Final = timedelta(milliseconds=10)
LONGEST: Final = timedelta(days=3660)
"""The range of every duration: ten years added to today is still a date, and 10 ms are still worth waiting for."""

Seconds = Annotated[timedelta, from_text(_seconds), Field(ge=SHORTEST, le=LONGEST)]
"""A duration, given as a number of seconds from 0.01 to ten years."""

SecondsOrNever = Annotated[timedelta, from_text(_seconds), Field(ge=timedelta(0), le=LONGEST)]
"""A duration of at most ten years that may be 0, which turns off what it is for."""


BROKERS: Final = frozenset({"redis", "rediss", "unix"})
"""Schemes of a single server."""


class SharedSettings(BaseSettings):
    """What both sides must agree on. Read once at start, frozen afterwards."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, frozen=True, extra="ignore", validate_default=True, env_ignore_empty=True
    )

    ledger_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Valkey or Redis that keeps the jobs: `redis://` for one server, `redis+cluster://`, or "
        "`redis+sentinel://` (see operations.md). It must sync its append-only file on every write.",
    )
    broker_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6380/0"),
        description="Valkey or Redis that carries the doorbells (Celery messages): `redis://`, `rediss://` or "
        "`unix:///path`. It needs no persistence.",
    )
    durability: Literal["always", "everysec", "unchecked"] = Field(
        default="always",
        description="What the ledger must promise at start: `always` = a 202 is on disk; `everysec` = up to 1 s of "
        "accepted jobs may be lost on power loss; `unchecked` = do not ask the server.",
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Number of ledger shards; the same on every process. More than 1 serves a cluster.",
    )
    lease: Seconds = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="How long a worker may stay silent before its job is given to another one, in seconds.",
    )
    max_attempts: int = Field(default=3, ge=1, le=20, description="Starts of one job before it fails as `worker_lost`.")
    result_ttl: Seconds = Field(
        default=timedelta(hours=24),
        ge=timedelta(seconds=1),
        description="How long a finished job can be read, in seconds.",
    )
    retry_window: SecondsOrNever = Field(
        default=timedelta(hours=1),
        description="How long the images of a job that failed and may be retried are kept for that, in seconds; 0 = "
        "not at all.",
    )
    log_format: Literal["console", "json"] = Field(default="console", description="Log lines for people or machines.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Least level logged.")
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port of this process for machines of your own: `/metrics`, `/livez`, `/readyz`; 0 = none. Keep it "
        "from the public.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address of that port.")

    @field_validator("broker_url")
    @classmethod
    def _one_server(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        try:
            parts = urlsplit(text)
            place = parts.path if parts.scheme == "unix" else parts.hostname
            known = parts.scheme in BROKERS and place and (parts.port is None or parts.port > 0)
        except ValueError:  # of a port or a bracket
            known = False
        if not known:
            msg = "it must be redis://host:6379/0, rediss://host:6379/0 or unix:///path/of/the.socket"
            raise ValueError(msg)
        return url


S = TypeVar("S", bound=SharedSettings)


def load(kind: type[S]) -> S:
    """Read one process's settings from the environment, and from the files that it names.

    Raises:
        SettingsError: one line that names each wrong variable, what it holds and what would be right.
    """
    try:
        return kind(**_from_files(kind))
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(kind, problem) for problem in error.errors())) from None


def _from_files(kind: type[SharedSettings]) -> dict[str, Any]:
    """The settings that stand in files, by field: a variable with `_FILE` behind its name says in which."""
    found: dict[str, Any] = {}
    for field in kind.model_fields:
        name = PREFIX + field.upper()
        path = os.environ.get(name + FILE)
        if not path:
            continue
        if os.environ.get(name):
            msg = f"{name} and {name}{FILE} are both set; unset one of them"
            raise SettingsError(msg)
        try:
            text = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            msg = f"{name}{FILE} is wrong: {path} cannot be read ({getattr(error, 'strerror', None) or 'no text'})"
            raise SettingsError(msg) from None
        if not text:
            msg = f"{name}{FILE} is wrong: {path} is empty"
            raise SettingsError(msg)
        found[field] = text
    return found


def _explain(kind: type[SharedSettings], problem: Mapping[str, object]) -> str:
    location = problem.get("loc")
    field = str(location[0]) if isinstance(location, tuple) and location else "?"
    name = PREFIX + field.upper()
    annotation = kind.model_fields[field].annotation if field in kind.model_fields else None
    given = "a secret value" if annotation is SecretStr else repr(problem.get("input"))
    reason = str(problem.get("msg", "")).removeprefix("Value error, ")
    return f"{name} is wrong: {reason} (got {given})"


def names(*kinds: type[SharedSettings]) -> frozenset[str]:
    """The environment variables that these settings read."""
    return frozenset(PREFIX + field.upper() for kind in kinds for field in kind.model_fields)


def refuse_unknown(environment: Iterable[str], *, known: frozenset[str]) -> None:
    """Refuse a misspelt variable: a setting that is silently not read is worse than a start that fails.

    Raises:
        SettingsError: names the unknown variables and the nearest known one.
    """
    problems = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and name.removesuffix(FILE) not in known:
            near = difflib.get_close_matches(name, known, n=1)
            problems.append(f"{name} is no setting" + (f"; did you mean {near[0]}?" if near else ""))
    if problems:
        raise SettingsError("; ".join(problems))
