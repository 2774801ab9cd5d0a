"""A trace collector in memory: accepts OTLP over HTTP on the loopback address, like any collector."""

import gzip
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tools.ports import LOOPBACK


@dataclass(frozen=True)
class Seen:
    """One span as it was received."""

    service: str
    name: str
    kind: int
    trace: str
    id: str
    parent: str
    begin: int
    end: int
    failed: str | None
    attributes: dict[str, Any]


class Collector:
    """Listens until closed."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                collector.spans += _read(body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self._server.server_address[1]}"

    def of(self, trace: str) -> list[Seen]:
        """The spans of one trace, by start time."""
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.begin)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _read(body: bytes) -> list[Seen]:
    request: Any = ExportTraceServiceRequest.FromString(body)
    found: list[Seen] = []
    for resource in request.resource_spans:
        service = _values(resource.resource.attributes)["service.name"]
        found += [_seen(service, span) for scope in resource.scope_spans for span in scope.spans]
    return found


def _seen(service: str, span: Any) -> Seen:
    return Seen(
        service=service,
        name=span.name,
        kind=span.kind,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        begin=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.message if span.status.code == 2 else None,
        attributes=_values(span.attributes),
    )


def _values(pairs: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in pairs}
