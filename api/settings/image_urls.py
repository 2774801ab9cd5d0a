"""The operator's allowlist of hosts for images by URL."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn, Self

from shared.errors import ErrorCode, FieldError, RequestError
from shared.net.urls import DEFAULT_PORTS, Url, UrlError, is_numeric, read_authority, read_url


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of the allowlist: a host or all its subdomains, on the default port or a given one."""

    host: str
    below: bool = False
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `photos.example.org`, `*.example.org`, or either with a port (`photos.example.org:8443`).

        Raises:
            UrlError: the text has another form.
        """
        below = text.startswith("*.")
        host, port = read_authority(text.removeprefix("*."))
        if below and ("." not in host or is_numeric(host) or ":" in host):
            msg = "*. must be followed by a name of at least two labels"
            raise UrlError(msg)
        return cls(host, below, port)

    def covers(self, url: Url) -> bool:
        """True if this entry allows the URL. `*.example.org` covers any depth of subdomains, not example.org itself."""
        if url.port != (self.port or DEFAULT_PORTS[url.scheme]):
            return False
        return url.host.endswith(f".{self.host}") if self.below else url.host == self.host


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """Which image URLs the operator allows. Without hosts, images by URL are disabled."""

    hosts: tuple[HostRule, ...] = ()
    allow_http: bool = False
    allow_private: bool = False

    def __bool__(self) -> bool:
        """True if images by URL are enabled."""
        return bool(self.hosts)

    def check(self, text: str, *, field: str) -> Url:
        """Parse a URL and check it against the allowlist, without a DNS lookup.

        Args:
            text: the URL.
            field: its path in the request, for the error.

        Raises:
            RequestError: `image_urls_off` or `image_url_refused`.
        """
        if not self:
            raise RequestError(
                ErrorCode.IMAGE_URLS_OFF,
                "Images by URL are disabled on this service. Send the file, or its bytes as base64.",
                fields=(FieldError(field, "images by URL are disabled on this service"),),
            )
        try:
            url = read_url(text)
            if url.scheme == "http" and not self.allow_http:
                _refuse("must begin with https://")
            if not any(rule.covers(url) for rule in self.hosts):
                _refuse("has a host or port that is not in VULTUS_IMAGE_URL_HOSTS")
        except UrlError as error:
            raise RequestError(
                ErrorCode.IMAGE_URL_REFUSED,
                "The image URL is not allowed.",
                fields=(FieldError(field, str(error)),),
            ) from None
        return url


def read_hosts(texts: Iterable[str]) -> tuple[HostRule, ...]:
    """Parse the operator's allowlist.

    Raises:
        UrlError: an entry is invalid; the message names it.
    """
    rules = []
    for text in texts:
        try:
            rules.append(HostRule.parse(text))
        except UrlError as error:
            msg = f"{text!r}: {error}; use photos.example.org, *.example.org, or photos.example.org:8443"
            raise UrlError(msg) from None
    return tuple(rules)


def _refuse(reason: str) -> NoReturn:
    raise UrlError(reason)
