"""The load generator sends valid requests and measures correctly, against a local test server."""

import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from bench import client
from bench.pictures import Picture

PICTURE = Picture("tiny", "none", b"\xff\xd8 not a real picture", 0)
HEAD = b"HTTP/1.1 %d OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
BODY = b'{"status": "succeeded"}'

pytestmark = pytest.mark.enable_socket


@dataclass
class Server:
    """Responds to every request after a pause, with a status that the test chooses."""

    port: int = 0
    status: int = 200
    pause: float = 0.0
    requests: list[bytes] = field(default_factory=list)
    inside: int = 0
    most: int = 0
    """Maximum number of concurrent requests."""

    def answer(self, connection: socketserver.StreamRequestHandler) -> None:
        while first := connection.rfile.readline():
            lines = [first, *iter(connection.rfile.readline, b"\r\n"), b"\r\n"]
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"Content-Length:"))
            self.requests.append(b"".join(lines) + connection.rfile.read(length))
            self.inside += 1
            self.most = max(self.most, self.inside)
            time.sleep(self.pause)
            self.inside -= 1
            connection.wfile.write(HEAD % (self.status, len(BODY), BODY))


class Listening(socketserver.ThreadingTCPServer):
    """Does not wait for its threads on exit, because a failed client may have left its request half-read."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignore clients that disconnect."""


@pytest.fixture
def server() -> Iterator[Server]:
    fake = Server()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            fake.answer(self)

    with Listening(("127.0.0.1", 0), Handler) as listening:
        fake.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield fake
        listening.shutdown()
        thread.join(5)


def test_job_is_sent_as_a_form_with_its_wait(server: Server) -> None:
    client.one_by_one(client.job(server.port, PICTURE, wait=60), times=1)
    [request] = server.requests
    head, body = request.split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /v1/jobs HTTP/1.1\r\n")
    assert b"Prefer: wait=60" in head
    assert b'name="operation"\r\n\r\nembed\r\n' in body
    assert b'name="image"; filename="picture.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + PICTURE.data in body


def test_job_without_a_wait_sends_no_prefer_header(server: Server) -> None:
    client.one_by_one(client.job(server.port, PICTURE, wait=0), times=2)
    assert [b"Prefer" in request for request in server.requests] == [False, False]


def test_only_responses_within_the_window_have_latencies(server: Server) -> None:
    server.pause = 0.05
    load = client.closed_loop(client.job(server.port, PICTURE, wait=1), clients=4, warm=0.2, seconds=0.4)
    assert load.answered == len(server.requests)
    assert 0 < len(load.latencies) < load.answered
    assert min(load.latencies) >= 0.05
    assert load.rate == len(load.latencies) / 0.4
    assert load.bodies == [BODY] * 4


def test_error_response_stops_the_load(server: Server) -> None:
    server.status = 503
    with pytest.raises(client.LoadError, match="503"):
        client.closed_loop(client.job(server.port, PICTURE, wait=1), clients=2, warm=0.0, seconds=0.2)


def test_requests_alternate_between_targets(server: Server) -> None:
    pair = [client.job(server.port, PICTURE, wait=1), client.classic(server.port, PICTURE)]
    client.in_turn(pair, times=6, clients=2)
    paths = [request.split(b" ", 2)[1] for request in server.requests]
    assert sorted(paths) == [b"/embed"] * 3 + [b"/v1/jobs"] * 3


def test_open_loop_sends_at_its_times_independently_of_responses(server: Server) -> None:
    server.pause = 0.3
    begin = time.perf_counter()
    bodies = client.open_loop(client.job(server.port, PICTURE, wait=0), times=[0.0, 0.0, 0.1])
    assert bodies == [BODY] * 3
    assert server.most > 1
    assert time.perf_counter() - begin >= 0.1 + server.pause
