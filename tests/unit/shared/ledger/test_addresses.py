"""Addresses of the ledger: valid forms, and errors that do not contain the password."""

import pytest
from pydantic import SecretStr

from shared.errors import SettingsError
from shared.ledger.addresses import Address, Kind, read_address


def read(text: str) -> Address:
    return read_address(SecretStr(text))


@pytest.mark.parametrize(
    "text",
    ["redis://:pw@host:6379/0", "redis://localhost", "rediss://user:pw@host/2", "unix:///run/ledger.sock?db=1"],
)
def test_the_url_of_one_server_is_passed_to_the_driver_unchanged(text: str) -> None:
    assert read(text) == Address(Kind.SERVER, url=text)


def test_a_cluster_has_nodes_a_user_and_a_password() -> None:
    assert read("redis+cluster://app:p%40ss@a:7001,b,[::1]:7003") == Address(
        Kind.CLUSTER,
        nodes=(("a", 7001), ("b", 6379), ("::1", 7003)),
        options={"username": "app", "password": "p@ss"},
    )


def test_a_cluster_with_tls_accepts_tls_options() -> None:
    address = read("rediss+cluster://:pw@a?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false")
    assert address.options == {
        "password": "pw",
        "ssl": True,
        "ssl_ca_certs": "/etc/ca.pem",
        "ssl_check_hostname": False,
    }


def test_sentinels_have_a_service_name_and_a_separate_password() -> None:
    assert read("redis+sentinel://:pw@a,b:26380/ledger/3?sentinel_password=other") == Address(
        Kind.SENTINEL,
        nodes=(("a", 26379), ("b", 26380)),
        service="ledger",
        options={"password": "pw", "db": 3},
        sentinel_options={"password": "other"},
    )


def test_tls_applies_to_the_sentinels_too() -> None:
    address = read("rediss+sentinel://a/ledger?ssl_ca_certs=/ca.pem")
    assert address.options == {"db": 0, "ssl": True, "ssl_ca_certs": "/ca.pem"}
    assert address.sentinel_options == {"ssl": True, "ssl_ca_certs": "/ca.pem"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("http://:hunter2@a", "must begin with"),
        (":hunter2@a:6379", "must begin with"),
        ("redis+ring://:hunter2@a", "must begin with"),
        ("unix+cluster://:hunter2@a", "must begin with"),
        ("redis://:hunter2@a:port/0", "must look like"),
        ("redis://:hunter2/x@a", "must look like"),
        ("redis://:hunter2@a:6379/0?socket_timeout=soon", "must look like"),
        ("redis+cluster://:hunter2@", "host:port"),
        ("redis+cluster://:hunter2@a,,b", "host:port"),
        ("redis+cluster://:hunter2@a:0", "host:port"),
        ("redis+cluster://:hunter2@a:65536", "host:port"),
        ("redis+cluster://:hunter2@a:b:c", "host:port"),
        ("redis+cluster://:hunter2@a/0", "one database"),
        ("redis+cluster://:hunter2@a?db=0", "after the question mark"),
        ("redis+cluster://:hunter2@a?sentinel_password=hunter2", "after the question mark"),
        ("redis+cluster://:hunter2@a?socket_timeout=9", "after the question mark"),
        ("redis+cluster://:hunter2@a?ssl_ca_certs=/ca.pem", "require rediss"),
        ("redis+sentinel://:hunter2@a", "the name that the sentinels monitor"),
        ("redis+sentinel://:hunter2@a/0/ledger", "the name that the sentinels monitor"),
        ("redis+sentinel://:hunter2@a/ledger/x", "the name that the sentinels monitor"),
    ],
)
def test_an_invalid_address_gets_a_one_line_error_without_its_password(text: str, why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(text)
    message = str(refused.value)
    assert message.startswith("VULTUS_LEDGER_URL is wrong: ")
    assert why in message
    assert "hunter2" not in message
    assert "\n" not in message
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_the_repr_of_an_address_has_no_password() -> None:
    assert "hunter2" not in repr(read("redis+sentinel://:hunter2@a/ledger?sentinel_password=hunter2"))
    assert "hunter2" not in repr(read("redis://:hunter2@a"))
