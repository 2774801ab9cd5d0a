"""Which webhook URLs and custom headers are allowed."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final, NoReturn

from shared.errors import ErrorCode, FieldError, RequestError
from shared.net import addresses
from shared.net.addresses import Network
from shared.net.urls import UrlError, read_webhook_url

MOST_HEADERS: Final = 10
_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,63}")
_VALUE: Final = re.compile(r"[!-~]([ -~]{0,1022}[!-~])?")
_OURS: Final = re.compile(
    r"(webhook-.*|content-.*|transfer-encoding|te|trailer|connection|keep-alive|upgrade|host|expect|proxy-.*|user-agent)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class WebhookPolicy:
    """Which webhook URLs the operator allows."""

    own_addresses: bool = False
    """Whether a job may name its own URL. True if there is a secret to sign its callback with."""
    allow_http: bool = False
    private: Collection[Network] = ()

    def check_own(self) -> None:
        """Refuse a URL named by a job if there is no secret to sign its callback with.

        Raises:
            RequestError: `webhooks_off`.
        """
        if not self.own_addresses:
            raise RequestError(
                ErrorCode.WEBHOOKS_OFF,
                "This service does not accept webhook URLs in jobs. Register a webhook endpoint instead.",
                fields=(FieldError("webhook", "VULTUS_WEBHOOK_SECRETS is not set on this service"),),
            )

    def check_url(self, text: str, *, field: str) -> None:
        """Check the URL of a receiver. Its host name is resolved and checked at each delivery attempt, not here.

        Raises:
            RequestError: `webhook_url_refused`.
        """
        try:
            host = read_webhook_url(text, allow_http=self.allow_http).host
        except UrlError as error:
            _refuse_url(field, str(error))
        try:
            literal = addresses.read(host)
        except ValueError:
            return  # a host name
        if not addresses.is_open(literal, private=self.private):
            _refuse_url(field, "is an IP address in a blocked network")

    def check_headers(self, headers: Mapping[str, str], *, field: str) -> None:
        """Refuse headers that callbacks set themselves, and headers that are not valid HTTP.

        Raises:
            RequestError: `invalid_request`.
        """
        if len(headers) > MOST_HEADERS:
            _refuse(field, f"has {len(headers)} entries; the limit is {MOST_HEADERS}")
        if len({name.lower() for name in headers}) < len(headers):
            _refuse(field, "names a header twice")
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or _OURS.fullmatch(name):
                _refuse(field, "has a name that callbacks use themselves, or that is not letters, digits, and hyphens")
            if not _VALUE.fullmatch(value):
                _refuse(field, "has a value that is not 1 to 1,024 printable ASCII characters without outer spaces")


def _refuse_url(field: str, detail: str) -> NoReturn:
    message = "The webhook URL is not allowed."
    raise RequestError(ErrorCode.WEBHOOK_URL_REFUSED, message, fields=(FieldError(field, detail),)) from None


def _refuse(field: str, detail: str) -> NoReturn:
    raise RequestError(ErrorCode.INVALID_REQUEST, "The webhook is not valid.", fields=(FieldError(field, detail),))
