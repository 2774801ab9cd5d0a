"""Settings that the gateway and the worker share, and how settings are read from the environment."""

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
"""Suffix of a variable that names a file with the value of the setting."""


def listed(text: str) -> tuple[str, ...]:
    """Return the parts between commas, stripped of whitespace. Empty parts are dropped."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def from_text(read: Callable[[str], object]) -> BeforeValidator:
    """Return a validator that parses text from the environment and passes other values on."""
    return BeforeValidator(lambda value: read(value) if isinstance(value, str) else value)


def _seconds(text: str) -> timedelta:
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        msg = "must be a number of seconds, such as 30 or 0.5"
        raise ValueError(msg) from None


SHORTEST: Final = timedelta(milliseconds=10)
LONGEST: Final = timedelta(days=3660)
"""The range of every duration: ten years from today is still a valid date, and waiting 10 ms is still useful."""

Seconds = Annotated[timedelta, from_text(_seconds), Field(ge=SHORTEST, le=LONGEST)]
"""A duration in seconds, from 0.01 s to ten years."""

SecondsOrNever = Annotated[timedelta, from_text(_seconds), Field(ge=timedelta(0), le=LONGEST)]
"""A duration in seconds, at most ten years. 0 turns off what the setting is for."""


BROKERS: Final = frozenset({"redis", "rediss", "unix"})
"""URL schemes of a single server."""


class SharedSettings(BaseSettings):
    """Settings that all processes must agree on. Read once at start, then frozen."""

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
        description="Durability that the ledger must have at start: `always` = every accepted job is on disk; "
        "`everysec` = up to 1 s of accepted jobs may be lost on power loss; `unchecked` = skip the check.",
    )
    shards: int = Field(
        default=1,
        ge=1,
        le=256,
        description="Number of ledger shards. Must be the same in every process. Use more than 1 with a cluster.",
    )
    lease: Seconds = Field(
        default=timedelta(seconds=10),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="How long a worker may be silent before its job is given to another worker, in seconds.",
    )
    max_attempts: int = Field(
        default=3, ge=1, le=20, description="Attempts to run a job before it fails with `worker_lost`."
    )
    result_ttl: Seconds = Field(
        default=timedelta(hours=24),
        ge=timedelta(seconds=1),
        description="How long a finished job can be read, in seconds.",
    )
    retry_window: SecondsOrNever = Field(
        default=timedelta(hours=1),
        description="How long the images of a failed job are kept for a retry, in seconds; 0 = not at all.",
    )
    log_format: Literal["console", "json"] = Field(
        default="console", description="Log format: for people or for machines."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="Minimum level to log.")
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Monitoring port of this process: `/metrics`, `/livez`, `/readyz`; 0 = none. Do not expose it to "
        "the public.",
    )
    metrics_host: str = Field(default="127.0.0.1", description="Address that the monitoring port listens on.")

    @field_validator("broker_url")
    @classmethod
    def _one_server(cls, url: SecretStr) -> SecretStr:
        text = url.get_secret_value()
        try:
            parts = urlsplit(text)
            place = parts.path if parts.scheme == "unix" else parts.hostname
            valid = parts.scheme in BROKERS and place and (parts.port is None or parts.port > 0)
        except ValueError:  # a port or a bracket is invalid
            valid = False
        if not valid:
            msg = "must be redis://host:6379/0, rediss://host:6379/0 or unix:///path/of/the.socket"
            raise ValueError(msg)
        return url


S = TypeVar("S", bound=SharedSettings)


def load(kind: type[S]) -> S:
    """Read the settings of one process from the environment and from the files that it names.

    Raises:
        SettingsError: one line that names each invalid variable, its value, and what is expected.
    """
    try:
        return kind(**_from_files(kind))
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(kind, problem) for problem in error.errors())) from None


def _from_files(kind: type[SharedSettings]) -> dict[str, Any]:
    """Return the settings that are stored in files, by field. A variable with the suffix `_FILE` names the file."""
    values: dict[str, Any] = {}
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
            msg = f"{name}{FILE} is wrong: {path} cannot be read ({getattr(error, 'strerror', None) or 'not text'})"
            raise SettingsError(msg) from None
        if not text:
            msg = f"{name}{FILE} is wrong: {path} is empty"
            raise SettingsError(msg)
        values[field] = text
    return values


def _explain(kind: type[SharedSettings], problem: Mapping[str, object]) -> str:
    location = problem.get("loc")
    field = str(location[0]) if isinstance(location, tuple) and location else "?"
    name = PREFIX + field.upper()
    annotation = kind.model_fields[field].annotation if field in kind.model_fields else None
    value = "a secret value" if annotation is SecretStr else repr(problem.get("input"))
    reason = str(problem.get("msg", "")).removeprefix("Value error, ")
    return f"{name} is wrong: {reason} (got {value})"


def names(*kinds: type[SharedSettings]) -> frozenset[str]:
    """Return the environment variables that these settings are read from."""
    return frozenset(PREFIX + field.upper() for kind in kinds for field in kind.model_fields)


def refuse_unknown(environment: Iterable[str], *, known: frozenset[str]) -> None:
    """Refuse misspelled variables: a setting that is silently ignored is worse than a failed start.

    Raises:
        SettingsError: one line that names each unknown variable and the closest known one.
    """
    problems = []
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known and name.removesuffix(FILE) not in known:
            close = difflib.get_close_matches(name, known, n=1)
            problems.append(f"{name} is not a setting" + (f"; did you mean {close[0]}?" if close else ""))
    if problems:
        raise SettingsError("; ".join(problems))
