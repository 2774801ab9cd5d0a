"""The process that is forked. It has imported the services' libraries, runs no thread, and keeps no state of theirs.

The arguments are the descriptor of a Unix socket, a kind of service, and `tests.chaos.odd_clock` if the clock of the
services can be shifted. Requests arrive on the socket: JSON with the command and the environment, and two descriptors,
one for the output and one on which the exit status is written when the child has ended.
"""

import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.chaos import skew
from tools.service import leash

LIBRARIES: Final[Mapping[str, Sequence[str]]] = {
    "gateway": (
        "api.app",
        "uvicorn.lifespan.on",
        "uvicorn.loops.uvloop",
        "uvicorn.protocols.http.httptools_impl",
    ),
    "courier": ("worker.courier.__main__",),
    "worker": (
        "celery.__main__",
        "celery.apps.worker",
        "celery.bin.celery",
        "celery.bin.worker",
        "celery.concurrency.thread",
        "celery.worker.components",
        "celery.worker.consumer",
        "kombu.transport.redis",
        "worker.engine.load",
        "worker.tasks",
    ),
}
"""What each kind of service imports, except modules that read settings when they are imported."""
RUN: Final = frozenset({"api.app", "celery.__main__", "worker.courier.__main__"})
"""Modules that are run, and so must not be imported already."""
MESSAGE: Final = 1 << 20
"""Bytes of a request; the environment is most of it."""


def prepare(kind: str) -> None:
    """Import the libraries of a kind of service.

    Raises:
        RuntimeError: one of them started a thread, which a fork would not copy.
    """
    for name in LIBRARIES[kind]:
        importlib.import_module(name)
    for name in RUN & sys.modules.keys():
        del sys.modules[name]
    names = [thread.name for thread in threading.enumerate()]
    running = len(list(Path("/proc/self/task").iterdir()))
    if running > 1:
        msg = f"the imports started threads: {running} are running, of which Python knows {', '.join(names)}"
        raise RuntimeError(msg)


def serve(requests: socket.socket) -> list[str] | None:
    """Fork a child for each request. Returns the child's command in the child, and None when the requests end."""
    statuses: dict[int, int] = {}
    ended, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    with selectors.DefaultSelector() as selector:
        selector.register(requests, selectors.EVENT_READ)
        selector.register(ended, selectors.EVENT_READ)
        while True:
            ready = {key.fd for key, _ in selector.select()}
            if ended in ready:
                os.read(ended, MESSAGE)
            _report_ended(statuses)
            if requests.fileno() not in ready:
                continue
            message, descriptors, _, _ = socket.recv_fds(requests, MESSAGE, 2)
            if not message:
                return None
            output, status = descriptors
            pid = os.fork()
            if pid == 0:
                for descriptor in (status, ended, wakeup, *statuses.values()):
                    os.close(descriptor)
                return _become(json.loads(message), output=output, server=requests)
            statuses[pid] = status
            os.close(output)
            requests.send(str(pid).encode())


def _report_ended(statuses: dict[int, int]) -> None:
    for pid, descriptor in list(statuses.items()):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            os.write(descriptor, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(statuses.pop(pid))


def _become(request: dict[str, object], *, output: int, server: socket.socket) -> list[str]:
    """Turn the forked child into the requested process, up to its first import."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    server.close()
    os.setsid()
    leash()
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
    command, environment = request["command"], request["environment"]
    if not (isinstance(command, list) and isinstance(environment, dict)):
        raise TypeError(request)
    os.environ.clear()
    os.environ.update(environment)
    return command


def main() -> None:
    """Serve requests; in a child, run the module that was requested, as `python -m` does."""
    descriptor, kind, *skewed = sys.argv[1:]
    requests = socket.socket(fileno=int(descriptor))
    if skewed:
        skew.install()
    prepare(kind)
    command = serve(requests)
    if command is not None:
        _, _, module, *arguments = command
        sys.argv[:] = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
