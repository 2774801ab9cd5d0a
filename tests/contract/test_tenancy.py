"""Every call states how it treats tenants; `tests/integration/test_tenant_matrix.py` checks it."""

from tests.contract.test_openapi import OPERATIONS, PUBLIC
from tests.tenancy import ANSWERS, BODIES, LISTS, MAKES, SECRETS, is_admin, is_known
from tests.tenancy import PUBLIC as KNOWN_PUBLIC


def test_every_call_has_an_entry_in_the_table_of_tenancy() -> None:
    unknown = [name for name in OPERATIONS if not is_known(name)]
    assert unknown == [], "say in tests/tenancy.py what these calls do with another tenant's things"


def test_the_table_names_only_existing_calls() -> None:
    assert OPERATIONS.keys() >= LISTS | MAKES | ANSWERS | BODIES.keys() | {SECRETS}
    assert KNOWN_PUBLIC == PUBLIC


def test_managing_tenants_and_keys_needs_its_own_scope() -> None:
    for name in filter(is_admin, OPERATIONS):
        ways = OPERATIONS[name]["security"]
        assert {scope for way in ways for scopes in way.values() for scope in scopes} == {"admin"}, name
