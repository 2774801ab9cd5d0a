"""Fixtures that several tests of the worker share."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.unit.worker.engine.archives import Serve


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serves one body at an address of this machine; `promise` is what its Content-Length says."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(body: bytes, *, status: int = 200, promise: int | None = None) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status)
                if promise is not None:
                    self.send_header("Content-Length", str(promise))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Keep the test's output clean."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}/toy.zip"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()
