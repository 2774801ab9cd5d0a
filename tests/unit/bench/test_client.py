"""The load generator sends what a service expects and measures what it says, against a server of the test's own."""

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
    """Answers every request after a pause, with a status that the test chooses."""

    port: int = 0
    status: int = 200
    pause: float = 0.0
    requests: list[bytes] = field(default_factory=list)
    inside: int = 0
    most: int = 0
    """Requests that were waiting for their answer at once."""

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
    """Waits for no thread at its end: a client that failed may have left its request half-read."""

    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hung up is no error of this server."""


@pytest.fixture
def server() -> Iterator[Server]:
    found = Server()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            found.answer(self)

    with Listening(("127.0.0.1", 0), Handler) as listening:
        found.port = listening.server_address[1]
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        listening.shutdown()
        thread.join(5)


def test_a_job_is_sent_as_a_form_with_its_wait(server: Server) -> None:
    client.one_by_one(client.job(server.port, PICTURE, wait=60), times=1)
    [request] = server.requests
    head, body = request.split(b"\r\n\r\n", 1)
    assert head.startswith(b"POST /v1/jobs HTTP/1.1\r\n")
    assert b"Prefer: wait=60" in head
    assert b'name="operation"\r\n\r\nembed\r\n' in body
    assert b'name="image"; filename="picture.jpg"\r\nContent-Type: image/jpeg\r\n\r\n' + PICTURE.data in body


def test_a_job_that_is_not_waited_for_says_nothing_of_waiting(server: Server) -> None:
    client.one_by_one(client.job(server.port, PICTURE, wait=0), times=2)
    assert [b"Prefer" in request for request in server.requests] == [False, False]


def test_latencies_are_those_of_answers_within_the_window_alone(server: Server) -> None:
    server.pause = 0.05
    load = client.closed_loop(client.job(server.port, PICTURE, wait=1), clients=4, warm=0.2, seconds=0.4)
    assert load.answered == len(server.requests)
    assert 0 < len(load.latencies) < load.answered
    assert min(load.latencies) >= 0.05
    assert load.rate == len(load.latencies) / 0.4
    assert load.bodies == [BODY] * 4


def test_an_answer_that_is_an_error_ends_the_load(server: Server) -> None:
    server.status = 503
    with pytest.raises(client.LoadError, match="503"):
        client.closed_loop(client.job(server.port, PICTURE, wait=1), clients=2, warm=0.0, seconds=0.2)


def test_targets_are_sent_in_turn_as_often_as_asked(server: Server) -> None:
    pair = [client.job(server.port, PICTURE, wait=1), client.classic(server.port, PICTURE)]
    client.in_turn(pair, times=6, clients=2)
    paths = [request.split(b" ", 2)[1] for request in server.requests]
    assert sorted(paths) == [b"/embed"] * 3 + [b"/v1/jobs"] * 3


def test_an_open_loop_sends_at_its_times_whatever_becomes_of_the_others(server: Server) -> None:
    server.pause = 0.3
    begin = time.perf_counter()
    bodies = client.open_loop(client.job(server.port, PICTURE, wait=0), times=[0.0, 0.0, 0.1])
    assert bodies == [BODY] * 3
    assert server.most > 1
    assert time.perf_counter() - begin >= 0.1 + server.pause
