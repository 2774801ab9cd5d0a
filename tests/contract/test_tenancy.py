"""Every call states how it treats tenants; `tests/integration/test_tenant_matrix.py` checks it."""

import pytest

from tests.contract.test_openapi import OPERATIONS, PUBLIC
from tests.tenancy import ANSWERS, BODIES, LISTS, MAKES, SECRETS, is_admin, is_known
from tests.tenancy import PUBLIC as KNOWN_PUBLIC


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_call_has_an_entry_in_the_table_of_tenancy(name: str) -> None:
    assert is_known(name), "say in tests/tenancy.py what this call does with another tenant's things"


def test_the_table_names_only_existing_calls() -> None:
    assert OPERATIONS.keys() >= LISTS | MAKES | ANSWERS | BODIES.keys() | {SECRETS}
    assert KNOWN_PUBLIC == PUBLIC


@pytest.mark.parametrize("name", [name for name in OPERATIONS if is_admin(name)])
def test_managing_tenants_and_keys_needs_its_own_scope(name: str) -> None:
    assert {scope for way in OPERATIONS[name]["security"] for scopes in way.values() for scope in scopes} == {"admin"}
