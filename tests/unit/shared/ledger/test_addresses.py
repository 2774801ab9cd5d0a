"""The address of the ledger: what it may be, and that no message tells its password."""

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
def test_one_server_is_given_to_the_driver_as_it_is_written(text: str) -> None:
    assert read(text) == Address(Kind.SERVER, url=text)


def test_a_cluster_has_nodes_a_user_and_a_password() -> None:
    assert read("redis+cluster://app:p%40ss@a:7001,b,[::1]:7003") == Address(
        Kind.CLUSTER,
        nodes=(("a", 7001), ("b", 6379), ("::1", 7003)),
        options={"username": "app", "password": "p@ss"},
    )


def test_a_cluster_over_tls_takes_options_of_tls() -> None:
    address = read("rediss+cluster://:pw@a?ssl_ca_certs=/etc/ca.pem&ssl_check_hostname=false")
    assert address.options == {
        "password": "pw",
        "ssl": True,
        "ssl_ca_certs": "/etc/ca.pem",
        "ssl_check_hostname": False,
    }


def test_sentinels_watch_a_service_and_have_a_password_of_their_own() -> None:
    assert read("redis+sentinel://:pw@a,b:26380/ledger/3?sentinel_password=other") == Address(
        Kind.SENTINEL,
        nodes=(("a", 26379), ("b", 26380)),
        service="ledger",
        options={"password": "pw", "db": 3},
        sentinel_options={"password": "other"},
    )


def test_sentinels_over_tls_are_asked_over_tls_too() -> None:
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
        ("redis://:hunter2@a:port/0", "none like"),
        ("redis://:hunter2/x@a", "none like"),
        ("redis://:hunter2@a:6379/0?socket_timeout=soon", "none like"),
        ("redis+cluster://:hunter2@", "host:port"),
        ("redis+cluster://:hunter2@a,,b", "host:port"),
        ("redis+cluster://:hunter2@a:0", "host:port"),
        ("redis+cluster://:hunter2@a:65536", "host:port"),
        ("redis+cluster://:hunter2@a:b:c", "host:port"),
        ("redis+cluster://:hunter2@a/0", "one database"),
        ("redis+cluster://:hunter2@a?db=0", "after the question mark"),
        ("redis+cluster://:hunter2@a?sentinel_password=hunter2", "after the question mark"),
        ("redis+cluster://:hunter2@a?socket_timeout=9", "after the question mark"),
        ("redis+cluster://:hunter2@a?ssl_ca_certs=/ca.pem", "need rediss"),
        ("redis+sentinel://:hunter2@a", "the name that the sentinels watch"),
        ("redis+sentinel://:hunter2@a/0/ledger", "the name that the sentinels watch"),
        ("redis+sentinel://:hunter2@a/ledger/x", "the name that the sentinels watch"),
    ],
)
def test_what_is_no_address_is_refused_in_one_line_without_its_password(text: str, why: str) -> None:
    with pytest.raises(SettingsError) as refused:
        read(text)
    said = str(refused.value)
    assert said.startswith("VULTUS_LEDGER_URL is wrong: ")
    assert why in said
    assert "hunter2" not in said
    assert "\n" not in said
    assert refused.value.__suppress_context__ or refused.value.__context__ is None


def test_an_address_in_a_log_tells_no_password() -> None:
    assert "hunter2" not in repr(read("redis+sentinel://:hunter2@a/ledger?sentinel_password=hunter2"))
    assert "hunter2" not in repr(read("redis://:hunter2@a"))
