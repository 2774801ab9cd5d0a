"""Create, list, and revoke API keys."""

import argparse
import sys
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Final

from api.settings.api import ApiSettings
from shared.errors import SettingsError, VultusError
from shared.ledger.connection import connect
from shared.ledger.tenants.api_keys import ApiKeys
from shared.ledger.tenants.store import Tenants
from shared.settings import load
from shared.tenants import DEFAULT, ApiKey, Scope, Tenant, is_key_id, is_tenant_id, new_key

ALL_SCOPES: Final = ",".join(sorted(Scope))


class _CommandError(Exception):
    """The command cannot be carried out; the message says why."""


def _create(options: argparse.Namespace, keys: ApiKeys, tenants: Tenants) -> str:
    """Create a key, and its tenant if that does not exist. Return the secret key."""
    public, secret_key, digest = new_key()
    if tenants.read(options.tenant) is None:
        tenants.create(Tenant(options.tenant))
    expires_at = None if options.days is None else time.time() + timedelta(days=options.days).total_seconds()
    key = ApiKey(public, options.tenant, options.scopes, digest, name=options.name, expires_at=expires_at)
    if keys.create(key) is None:
        msg = f"tenant {options.tenant} does not exist"  # it was erased in the meantime
        raise _CommandError(msg)
    return secret_key


def _table(keys: list[ApiKey]) -> str:
    rows = [
        f"{key.id}  {' '.join(sorted(key.scopes)):<45}  {_day(key.created_at)}  {_day(key.expires_at):<10}  "
        f"{_day(key.last_used_at):<10}  {key.name}"
        for key in keys
    ]
    return "\n".join([f"{'key':<12}  {'scopes':<45}  created     expires     last used   name", *rows])


def _day(at: float | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d")


def _revoke(options: argparse.Namespace, keys: ApiKeys) -> str:
    key = keys.read(options.key) if is_key_id(options.key) else None
    if key is None or not keys.revoke(key):
        msg = f"key {options.key} does not exist; give its public part, the 12 characters after vk_"
        raise _CommandError(msg)
    return f"Revoked key {key.id} of tenant {key.tenant}. Every gateway refuses it within seconds."


def _tenant(text: str) -> str:
    if not is_tenant_id(text):
        msg = "a tenant id has 1 to 40 characters of a-z, 0-9, _ and -, and starts with a letter or digit"
        raise argparse.ArgumentTypeError(msg)
    return text


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(name.strip()) for name in text.split(","))
    except ValueError:
        msg = f"give one or more of {ALL_SCOPES}, separated by commas"
        raise argparse.ArgumentTypeError(msg) from None


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= 36_500:  # noqa: PLR2004 - a hundred years
        raise ValueError
    return days


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.auth.keys_cli", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="create a key and print it; it cannot be printed again")
    create.add_argument(
        "--tenant", type=_tenant, default=DEFAULT, help="tenant of the key, created if needed (default: %(default)s)"
    )
    create.add_argument(
        "--scopes", type=_scopes, default="jobs:read,jobs:write", help=f"any of {ALL_SCOPES} (default: %(default)s)"
    )
    create.add_argument("--name", default="", help="a note on what the key is for")
    create.add_argument("--days", type=_days, help="validity in days (default: until the key is revoked)")
    listing = commands.add_parser("list", help="list the keys of a tenant")
    listing.add_argument("--tenant", type=_tenant, default=DEFAULT)
    revoke = commands.add_parser("revoke", help="revoke a key")
    revoke.add_argument("key", help="public part of the key: the 12 characters after vk_")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Run a command against the ledger of `VULTUS_LEDGER_URL`, and return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        settings = load(ApiSettings)
        with closing(connect(settings.ledger_url)) as client:
            keys = ApiKeys(client, shards=settings.shards)
            if options.command == "create":
                output = _create(options, keys, Tenants(client, shards=settings.shards))
            elif options.command == "list":
                output = _table(keys.of(options.tenant))
            else:
                output = _revoke(options, keys)
    except (SettingsError, VultusError, _CommandError) as error:
        sys.stderr.write(f"api.auth.keys_cli: {error}\n")
        return 2
    sys.stdout.write(f"{output}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
