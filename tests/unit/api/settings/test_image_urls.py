import pytest

from api.settings.api import ApiSettings
from api.settings.image_urls import UrlPolicy, read_hosts
from shared.errors import ErrorCode, RequestError, SettingsError
from shared.net.urls import UrlError, read_url
from shared.settings import load

LISTED = UrlPolicy(
    read_hosts(["photos.example.org", "*.cdn.example.com", "odd.example.org:8443", "203.0.113.7", "[2001:db8::7]"])
)


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("https://photos.example.org/1.jpg", "https://photos.example.org/1.jpg"),
        ("HTTPS://Photos.Example.ORG.:443?size=2#top", "https://photos.example.org/?size=2"),
        ("https://photos.example.org:8443/%E2%82%AC", "https://photos.example.org:8443/%E2%82%AC"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
        ("https://BÜCHER。example/", "https://xn--bcher-kva.example/"),
        ("https://203.0.113.7/", "https://203.0.113.7/"),
        ("https://[2001:DB8:0:0::7]:444/", "https://[2001:db8::7]:444/"),
        ("http://a_b.example/x@y", "http://a_b.example/x@y"),
    ],
)
def test_a_url_is_normalized(text: str, read: str) -> None:
    assert str(read_url(text)) == read


@pytest.mark.parametrize(
    "text",
    [
        *("", "photos.example.org", "//photos.example.org/", "https:photos.example.org", "https:///1.jpg"),
        *("ftp://photos.example.org/", "file:///etc/passwd", "gopher://photos.example.org/", "data:image/png;base64,"),
        *("https://user@photos.example.org/", "https://u:p@photos.example.org/", "https://evil.example\\@photos.org/"),
        *("https://photos.example.org:/", "https://photos.example.org:0/", "https://photos.example.org:65536/"),
        *("https://photos.example.org:44x/", "https://photos.example.org:-1/", "https://photos.example.org:٤٤٣/"),
        *("https://127.1/", "https://2130706433/", "https://0x7f.1/", "https://0x7f000001/", "https://0177.0.0.1/"),
        *("https://127.0.0.01/", "https://1.2.3.4.5/", "https://256.1.1.1/", "https://0x/", "https://127.0.0.0x1/"),
        *("https://①②⑦.0.0.1/", "https://１２７.0.0.1/", "https://127。0。0。1/", "https://127.0.0.①/"),  # noqa: RUF001
        *("https://[::1%25eth0]/", "https://[::1%eth0]/", "https://[fe80::1]eth0/", "https://[::1/", "https://::1/"),
        *("https://[127.0.0.1]/", "https://[v1.x]/", "https://[]/"),
        *("https://photos%2eexample.org/", "https://photos.example.org%00.evil.example/", "https://pho tos.example/"),
        *("https://photos.example.org/a b", "https://photos.example.org/\r\nHost: x", "https://photos.example.org/ü"),
        *("https://photos.example.org\\x", "https://photos.example.org/\\x", " https://photos.example.org/"),
        *(
            "https://.example.org/",
            "https://a..b/",
            "https://-a.example/",
            "https://a-.example/",
            "https://a!b.example/",
        ),
        "https://" + "a" * 64 + ".example/",
        "https://" + "a.ä" * 100 + "/",
        "https://" + "a." * 130 + "example/",
        "https://photos.example.org/" + "a" * 2048,
        "https://exa\u200bmple\u2044x.org/",
    ],
)
def test_an_ambiguous_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UrlError) as refused:
        read_url(text)
    assert len(str(refused.value)) < 120
    assert "photos" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        "https://photos.example.org/1.jpg",
        "https://PHOTOS.example.org.:443/",
        "https://a.cdn.example.com/",
        "https://a.b.cdn.example.com/",
        "https://odd.example.org:8443/",
        "https://203.0.113.7/",
        "https://[2001:db8:0::7]/",
    ],
)
def test_hosts_on_the_allowlist_are_allowed(text: str) -> None:
    assert LISTED.check(text, field="image.url").scheme == "https"


@pytest.mark.parametrize(
    "text",
    [
        *(
            "http://photos.example.org/",
            "https://example.org/",
            "https://x.photos.example.org/",
            "https://evil.example/",
        ),
        *("https://photos.example.org:8443/", "https://odd.example.org/", "https://photos.example.org:80/"),
        *("https://cdn.example.com/", "https://evilcdn.example.com/", "https://a.cdn.example.com.evil.example/"),
        *("https://203.0.113.8/", "https://127.0.0.1/", "https://[::1]/", "https://photos.example.org@evil.example/"),
    ],
)
def test_a_host_not_on_the_allowlist_is_refused_with_its_field(text: str) -> None:
    with pytest.raises(RequestError) as refused:
        LISTED.check(text, field="reference.url")
    assert refused.value.code is ErrorCode.IMAGE_URL_REFUSED
    assert [field.field for field in refused.value.fields] == ["reference.url"]


def test_http_is_allowed_on_its_default_port_if_enabled() -> None:
    policy = UrlPolicy(read_hosts(["photos.example.org"]), allow_http=True)
    assert policy.check("http://photos.example.org/", field="image.url").port == 80
    with pytest.raises(RequestError):
        policy.check("http://photos.example.org:443/", field="image.url")


def test_without_hosts_images_by_url_are_disabled() -> None:
    with pytest.raises(RequestError) as off:
        UrlPolicy().check("https://photos.example.org/", field="image.url")
    assert off.value.code is ErrorCode.IMAGE_URLS_OFF


def test_the_path_of_a_url_appears_only_in_its_own_text() -> None:
    url = read_url("https://photos.example.org:8443/secret?token=secret")
    assert "secret" not in repr(url)
    assert url.origin == "https://photos.example.org:8443"


def test_the_allowlist_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VULTUS_IMAGE_URL_HOSTS", " photos.example.org, *.Example.com:8443 ,bücher.example,[::1]:80,")
    monkeypatch.setenv("VULTUS_IMAGE_URL_ALLOW_HTTP", "true")
    policy = load(ApiSettings).url_policy
    assert [(rule.host, rule.below, rule.port) for rule in policy.hosts] == [
        ("photos.example.org", False, None),
        ("example.com", True, 8443),
        ("xn--bcher-kva.example", False, None),
        ("::1", False, 80),
    ]
    assert (policy.allow_http, policy.allow_private) == (True, False)


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "https://photos.example.org",
            "photos.example.org/1",
            "*",
            "*.",
            "*.org",
            "*.1.2.3",
            "*.127.0.0.1",
            "a.*.org",
        ),
        *("user@photos.example.org", "127.1", "2130706433", "photos example.org", "photos.example.org:", "*.[::1]"),
        *("::1", "[::1%eth0]", "photos.example.org:99999"),
    ],
)
def test_an_invalid_host_is_refused_at_start_and_named(monkeypatch: pytest.MonkeyPatch, entry: str) -> None:
    monkeypatch.setenv("VULTUS_IMAGE_URL_HOSTS", f"photos.example.org,{entry}")
    with pytest.raises(SettingsError, match="VULTUS_IMAGE_URL_HOSTS is wrong") as refused:
        load(ApiSettings)
    assert repr(entry) in str(refused.value)
