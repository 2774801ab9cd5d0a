"""Which receivers of webhooks are taken: the form of their address, and the headers that they ask for."""

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
    """What the operator allows."""

    own_addresses: bool = False
    """Whether a job may bring an address: there is a secret to sign with."""
    allow_http: bool = False
    private: Collection[Network] = ()

    def check_own(self) -> None:
        """Refuse an address that came with a job where there is no secret to sign with.

        Raises:
            RequestError: `webhooks_off`.
        """
        if not self.own_addresses:
            raise RequestError(
                ErrorCode.WEBHOOKS_OFF,
                "This service signs no callbacks to addresses that come with a job; register an endpoint.",
                fields=(FieldError("webhook", "the operator has set no VULTUS_WEBHOOK_SECRETS"),),
            )

    def check_url(self, text: str, *, field: str) -> None:
        """Read the address of a receiver; looks up no name: that is done at every attempt.

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
            return  # a name
        if not addresses.is_open(literal, private=self.private):
            _refuse_url(field, "leads to a network that is closed")

    def check_headers(self, headers: Mapping[str, str], *, field: str) -> None:
        """Refuse headers that are ours to set, or that no receiver could read.

        Raises:
            RequestError: `invalid_request`.
        """
        if len(headers) > MOST_HEADERS:
            _refuse(field, f"has {len(headers)} entries; at most {MOST_HEADERS} are sent")
        if len({name.lower() for name in headers}) < len(headers):
            _refuse(field, "names a header twice")
        for name, value in headers.items():
            if not _NAME.fullmatch(name) or _OURS.fullmatch(name):
                _refuse(field, "a name is of letters, digits and hyphens, and none that callbacks have themselves")
            if not _VALUE.fullmatch(value):
                _refuse(field, "a value is 1 to 1,024 printable ASCII characters, without spaces at its ends")


def _refuse_url(field: str, detail: str) -> NoReturn:
    message = "The webhook's address is not taken."
    raise RequestError(ErrorCode.WEBHOOK_URL_REFUSED, message, fields=(FieldError(field, detail),)) from None


def _refuse(field: str, detail: str) -> NoReturn:
    raise RequestError(ErrorCode.INVALID_REQUEST, "The webhook is not valid.", fields=(FieldError(field, detail),))
