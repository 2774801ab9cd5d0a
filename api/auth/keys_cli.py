"""The command for API keys: make the first one, list those of a tenant, revoke one."""

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

EVERY: Final = ",".join(sorted(Scope))


class _Refused(Exception):  # noqa: N818 - said to a person, then the end
    """What was asked cannot be done; the message says why."""


def _create(asked: argparse.Namespace, keys: ApiKeys, tenants: Tenants) -> str:
    """Put a key on record, and its tenant where it is new; the key, which is shown this once."""
    public, whole, digest = new_key()
    if tenants.read(asked.tenant) is None:
        tenants.create(Tenant(asked.tenant))
    expires = None if asked.days is None else time.time() + timedelta(days=asked.days).total_seconds()
    key = ApiKey(public, asked.tenant, asked.scopes, digest, name=asked.name, expires_at=expires)
    if keys.create(key) is None:
        msg = f"there is no tenant {asked.tenant}"  # erased in this moment
        raise _Refused(msg)
    return whole


def _lines(found: list[ApiKey]) -> str:
    rows = [
        f"{key.id}  {' '.join(sorted(key.scopes)):<45}  {_day(key.created_at)}  {_day(key.expires_at):<10}  "
        f"{_day(key.last_used_at):<10}  {key.name}"
        for key in found
    ]
    return "\n".join([f"{'key':<12}  {'scopes':<45}  created     expires     last used   name", *rows])


def _day(at: float | None) -> str:
    return "never" if at is None else datetime.fromtimestamp(at, tz=UTC).strftime("%Y-%m-%d")


def _revoke(asked: argparse.Namespace, keys: ApiKeys) -> str:
    key = keys.read(asked.key) if is_key_id(asked.key) else None
    if key is None or not keys.revoke(key):
        msg = f"there is no key {asked.key}; give its public part, the 12 characters after vk_"
        raise _Refused(msg)
    return f"revoked {key.id} of {key.tenant}; every gateway refuses it within seconds"


def _tenant(text: str) -> str:
    if not is_tenant_id(text):
        msg = "1 to 40 of a-z, 0-9, _ and -, the first a letter or digit"
        raise argparse.ArgumentTypeError(msg)
    return text


def _scopes(text: str) -> frozenset[Scope]:
    try:
        return frozenset(Scope(name.strip()) for name in text.split(","))
    except ValueError:
        msg = f"some of {EVERY}, commas between them"
        raise argparse.ArgumentTypeError(msg) from None


def _days(text: str) -> float:
    days = float(text)
    if not 0 < days <= 36_500:  # noqa: PLR2004 - a hundred years
        raise ValueError
    return days


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.auth.keys_cli", description=__doc__)
    acts = parser.add_subparsers(dest="act", required=True)
    create = acts.add_parser("create", help="make a key; it is shown this once")
    create.add_argument("--tenant", type=_tenant, default=DEFAULT, help="whose; made where it is new (%(default)s)")
    create.add_argument("--scopes", type=_scopes, default="jobs:read,jobs:write", help=f"{EVERY} (%(default)s)")
    create.add_argument("--name", default="", help="what it is for")
    create.add_argument("--days", type=_days, help="how long it is good for; without it, until it is revoked")
    listed = acts.add_parser("list", help="the keys of a tenant")
    listed.add_argument("--tenant", type=_tenant, default=DEFAULT)
    revoked = acts.add_parser("revoke", help="erase a key")
    revoked.add_argument("key", help="its public part: the 12 characters after vk_")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Do what was asked against the ledger of `VULTUS_LEDGER_URL`; the exit status."""
    asked = _parser().parse_args(arguments)
    try:
        settings = load(ApiSettings)
        with closing(connect(settings.ledger_url)) as client:
            keys = ApiKeys(client, shards=settings.shards)
            if asked.act == "create":
                said = _create(asked, keys, Tenants(client, shards=settings.shards))
            elif asked.act == "list":
                said = _lines(keys.of(asked.tenant))
            else:
                said = _revoke(asked, keys)
    except (SettingsError, VultusError, _Refused) as error:
        sys.stderr.write(f"api.auth.keys_cli: {error}\n")
        return 2
    sys.stdout.write(f"{said}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
