"""Which addresses of images are taken: the operator's list of hosts."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn, Self

from shared.errors import ErrorCode, FieldError, RequestError
from shared.net.urls import DEFAULT_PORTS, Url, UrlError, is_numeric, read_authority, read_url


@dataclass(frozen=True, slots=True)
class HostRule:
    """One entry of the list: a host, or every host below one; on the usual port, or on the one that is named."""

    host: str
    below: bool = False
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `photos.example.org`, `*.example.org`, or either with a port (`photos.example.org:8443`).

        Raises:
            UrlError: it is neither.
        """
        below = text.startswith("*.")
        host, port = read_authority(text.removeprefix("*."))
        if below and ("." not in host or is_numeric(host) or ":" in host):
            msg = "*. stands before a name of at least two parts"
            raise UrlError(msg)
        return cls(host, below, port)

    def covers(self, url: Url) -> bool:
        """True if this entry takes the URL; `*.example.org` takes any depth below, and not example.org itself."""
        if url.port != (self.port or DEFAULT_PORTS[url.scheme]):
            return False
        return url.host.endswith(f".{self.host}") if self.below else url.host == self.host


@dataclass(frozen=True, slots=True)
class UrlPolicy:
    """What the operator allows. Without hosts, nothing: images by URL are off."""

    hosts: tuple[HostRule, ...] = ()
    allow_http: bool = False
    allow_private: bool = False

    def __bool__(self) -> bool:
        """True where images by URL are on at all."""
        return bool(self.hosts)

    def check(self, text: str, *, field: str) -> Url:
        """Read a URL and decide whether it is taken; `field` is where it stood in the request. Looks up no name.

        Raises:
            RequestError: `image_urls_off` or `image_url_refused`.
        """
        if not self:
            raise RequestError(
                ErrorCode.IMAGE_URLS_OFF,
                "This service fetches no images; send the file, or its bytes as base64.",
                fields=(FieldError(field, "images by URL are off on this service"),),
            )
        try:
            url = read_url(text)
            if url.scheme == "http" and not self.allow_http:
                _refuse("must begin with https://")
            if not any(rule.covers(url) for rule in self.hosts):
                _refuse("its host and port are not among those that this service fetches from")
        except UrlError as error:
            raise RequestError(
                ErrorCode.IMAGE_URL_REFUSED,
                "The image's address is not taken.",
                fields=(FieldError(field, str(error)),),
            ) from None
        return url


def read_hosts(texts: Iterable[str]) -> tuple[HostRule, ...]:
    """The operator's list.

    Raises:
        UrlError: an entry is none; the message names it.
    """
    rules = []
    for text in texts:
        try:
            rules.append(HostRule.parse(text))
        except UrlError as error:
            msg = f"{text!r}: {error}; give photos.example.org, *.example.org or photos.example.org:8443"
            raise UrlError(msg) from None
    return tuple(rules)


def _refuse(why: str) -> NoReturn:
    raise UrlError(why)
