"""A minimal webhook receiver for local use: verifies and prints each callback, and responds with 204."""

import argparse
import json
import os
import queue
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

LOOPBACK: Final = "127.0.0.1"
TO_THIS_MACHINE: Final = {"VULTUS_WEBHOOK_ALLOW_HTTP": "true", "VULTUS_WEBHOOK_ALLOW_PRIVATE": "127.0.0.0/8"}
"""Settings that let a service send to this receiver, which has no certificate and no public address."""
MOST: Final = 1024 * 1024
"""Maximum size of a body, in bytes."""


@dataclass(frozen=True, slots=True)
class Callback:
    """A received callback: verified, or the reason why not."""

    id: str
    body: dict[str, Any]
    problem: str | None = None

    def __str__(self) -> str:
        """Return a one-line summary."""
        if self.problem:
            return f"refused   {self.id or '-'}  {self.problem}"
        data = self.body.get("data", {})
        return f"verified  {self.id}  {self.body.get('type')}  {data.get('id')}  {data.get('status')}"


def read(headers: dict[str, str], raw: bytes, *, secret: str) -> Callback:
    """Verify a callback with the Standard Webhooks library, as a real receiver would."""
    name = headers.get("webhook-id", "")
    try:
        Webhook(secret).verify(raw, headers)
        return Callback(name, json.loads(raw))
    except (WebhookVerificationError, ValueError) as error:  # ValueError for malformed headers and bodies
        return Callback(name, {}, problem=str(error) or type(error).__name__)


@contextmanager
def receiving(*, secret: str, port: int = 0, heard: Callable[[Callback], None]) -> Iterator[str]:
    """Listen on the loopback address, pass each callback to `heard`, and yield the URL to send to."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > MOST:
                self._answer(HTTPStatus.BAD_REQUEST)
                return
            raw = self.rfile.read(int(length))
            callback = read({name.lower(): value for name, value in self.headers.items()}, raw, secret=secret)
            self._answer(HTTPStatus.BAD_REQUEST if callback.problem else HTTPStatus.NO_CONTENT)
            heard(callback)

        def _answer(self, status: HTTPStatus) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing: callbacks are reported elsewhere."""

    with ThreadingHTTPServer((LOOPBACK, port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://{LOOPBACK}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def main() -> int:
    """Print callbacks until interrupted."""
    parser = argparse.ArgumentParser(prog="python -m tools.receiver", description=__doc__)
    parser.add_argument("--port", type=int, default=9000)
    parser.add_argument("--full", action="store_true", help="print complete bodies")
    options = parser.parse_args()
    secret = os.environ.get("SECRET", "")
    if not secret.startswith("whsec_"):
        print("receiver: set SECRET to the signing secret of the endpoint (whsec_...)", file=sys.stderr)
        return 2
    callbacks: queue.Queue[Callback] = queue.Queue()
    with receiving(secret=secret, port=options.port, heard=callbacks.put) as url:
        print(f"listening on {url} (press Ctrl-C to stop)", flush=True)
        try:
            while True:
                callback = callbacks.get()
                print(callback, flush=True)
                if options.full and not callback.problem:
                    print(json.dumps(callback.body, indent=2), flush=True)
        except KeyboardInterrupt:
            return 0


if __name__ == "__main__":
    sys.exit(main())
