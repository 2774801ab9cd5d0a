"""Runs the commands of the container files here, as a health check, a store or a build would run them."""

import json
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from shared.errors import SettingsError, UnavailableError
from shared.ledger.connection import connect, verify_durability
from tests.architecture.containers import GPU, ROOT, environment, instructions, services
from tools.ports import free_port
from tools.service import Service
from tools.stack import valkey

# The health checks


def check(service: str, *, replace: str, by: str) -> int:
    """Run a service's health check with one word replaced; return its exit status."""
    kind, python, *arguments, code = services(GPU)[service]["healthcheck"]["test"]
    assert (kind, python) == ("CMD", "python")
    assert replace in code
    command = [sys.executable, *arguments, code.replace(replace, by)]
    return subprocess.run(command, check=False, capture_output=True, timeout=30).returncode


def check_worker(ready: Path) -> int:
    return check("worker", replace=environment(services(GPU)["worker"])["VULTUS_READY_FILE"], by=str(ready))


def test_a_worker_with_a_heartbeat_is_healthy(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.touch()
    assert check_worker(ready) == 0


def test_a_worker_that_is_not_warm_is_not_healthy(tmp_path: Path) -> None:
    assert check_worker(tmp_path / "ready") != 0


def test_a_silent_worker_is_not_healthy(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    ready.touch()
    os.utime(ready, (time.time() - 31, time.time() - 31))
    assert check_worker(ready) != 0


@contextmanager
def gateway_answering(status: int) -> Iterator[int]:
    """A server that answers `/livez` with this status and everything else with 404; its port."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/livez" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def check_gateway(port: int) -> int:
    return check("gateway", replace="8000", by=str(port))


def test_a_gateway_that_answers_is_healthy() -> None:
    with gateway_answering(200) as port:
        assert check_gateway(port) == 0


def test_a_gateway_that_answers_with_an_error_is_not_healthy() -> None:
    with gateway_answering(503) as port:
        assert check_gateway(port) != 0


def test_a_gateway_that_does_not_answer_is_not_healthy() -> None:
    assert check_gateway(free_port()) != 0


# The stores


@contextmanager
def store(name: str, folder: Path) -> Iterator[SecretStr]:
    """A real Valkey, started with the store's own command in another folder and on another port; its address."""
    program, *arguments = services(GPU)[name]["command"]
    assert program == "valkey-server"
    port = free_port()
    arguments[arguments.index("/data")] = str(folder)
    command = [valkey(), *arguments, "--bind", "127.0.0.1", "--port", str(port)]
    server = Service(name, command, {}, lambda *_: None)
    server.start()
    try:
        yield SecretStr(f"redis://127.0.0.1:{port}/0")
    finally:
        server.stop()


def verify_when_up(url: SecretStr) -> None:
    client = connect(url)
    try:
        for _ in range(100):
            try:
                return verify_durability(client, "always")
            except UnavailableError:
                time.sleep(0.05)
        return verify_durability(client, "always")
    finally:
        client.close()


@pytest.mark.integration
def test_the_ledger_meets_the_promise_of_a_202(tmp_path: Path) -> None:
    with store("ledger", tmp_path) as url:
        verify_when_up(url)


@pytest.mark.integration
def test_the_broker_is_refused_as_a_ledger(tmp_path: Path) -> None:
    with store("broker", tmp_path) as url, pytest.raises(SettingsError, match="appendonly is no"):
        verify_when_up(url)


@pytest.mark.integration
def test_the_broker_writes_nothing(tmp_path: Path) -> None:
    with store("broker", tmp_path) as url:
        with pytest.raises(SettingsError):
            verify_when_up(url)
        client = connect(url)
        client.set("doorbell", "x")
        client.close()
    assert list(tmp_path.iterdir()) == []


# The entry points and the build


def in_image(tmp_path: Path, name: str) -> Path:
    """A folder with the files that the image's COPY instructions put into /app."""
    app = tmp_path / "app"
    for value in instructions(name, "COPY"):
        source, target = value.split()
        if (ROOT / source).is_dir():
            shutil.copytree(ROOT / source, app / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            into = app / target
            (into if target.endswith("/") else into.parent).mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / source, into)
    return app


def clean() -> dict[str, str]:
    """The caller's environment (it holds certificates and proxies), without Python's and the service's variables.

    What pip installs is imported once, so pip does not compile all of it.
    """
    dropped = ("VULTUS_", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "PIP_COMPILE": "0"}


def run_python(python: Path, arguments: list[str], folder: Path) -> str:
    """Run Python there and return its output; fail if it fails."""
    run = subprocess.run(
        [python, *arguments], cwd=folder, env=clean(), capture_output=True, text=True, check=False, timeout=500
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return run.stdout


def build_steps(name: str) -> list[list[str]]:
    """The arguments of every Python command of the build, in order: the install, the compilation, the import."""
    steps = [shlex.split(step) for value in instructions(name, "RUN") for step in value.split("&&")]
    found = [step[step.index("python") + 1 :] for step in steps if "python" in step]
    assert [step[:2] for step in found[:-1]] == [["-m", "pip"], ["-m", "compileall"]]
    assert found[-1][0] == "-c"
    return found


@pytest.mark.integration
def test_the_gateway_image_installs_and_holds_everything_it_imports(tmp_path: Path) -> None:
    app = in_image(tmp_path, "Dockerfile.api")
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    (module, pip, *install), compilation, check = build_steps("Dockerfile.api")
    run_python(
        Path(sys.executable), [module, pip, "--python", str(python), *install], app
    )  # it needs no pip of its own
    run_python(python, compilation, app)
    run_python(python, check, app)


def test_the_worker_image_holds_everything_it_imports(tmp_path: Path) -> None:
    app = in_image(tmp_path, "Dockerfile.worker")
    run_python(Path(sys.executable), build_steps("Dockerfile.worker")[-1], app)


def test_celery_understands_the_worker_command(tmp_path: Path) -> None:
    app = in_image(tmp_path, "Dockerfile.worker")
    (value,) = instructions("Dockerfile.worker", "CMD")
    program, *arguments = json.loads(value)
    assert program == "celery"
    assert "Start worker instance" in run_python(Path(sys.executable), ["-m", "celery", *arguments, "--help"], app)
