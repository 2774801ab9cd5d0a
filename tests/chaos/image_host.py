"""A host of images for jobs that come by URL; under `/once/` it fails the first request for each path."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from tests.chaos.marks import QUICK
from tools.ports import LOOPBACK

FAILS_ONCE: Final = "/once/"


class ImageHost:
    """Listens on the loopback address. A context manager."""

    def __init__(self) -> None:
        requested: set[str] = set()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                fails = self.path.startswith(FAILS_ONCE) and self.path not in requested
                requested.add(self.path)
                body = b"" if fails else QUICK
                self.send_response(503 if fails else 200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """The storm keeps its own records."""

        self._server = _Server((LOOPBACK, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="images", daemon=True)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignore a gateway that died while it was reading."""
