"""Run a command beside a Docker daemon with our images built: `python -m tools.containers pytest tests/containers`.

A reachable daemon is used. Otherwise root starts one in network, mount and process namespaces of its own: when it ends,
its containers, networks, firewall rules and mounts are gone with it. Images are kept in `.data/containers`.
`CONTAINERS=optional` skips, with one line, on a machine that cannot run containers.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

from tools.containers.client import ContainersError, NoContainersError, say
from tools.containers.daemon import DATA, Daemon, daemon
from tools.containers.images import base_images, build
from tools.containers.traces import objects, of_the_host
from tools.setup import ROOT


def main(command: Sequence[str]) -> int:
    """Run the command beside a daemon; its exit status, or 1 if there is no daemon or something was left behind."""
    os.chdir(ROOT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    begin = time.monotonic()
    before = of_the_host(DATA)
    try:
        with daemon() as running:
            status, left = _run(running, command)
    except NoContainersError as error:
        say(f"{'skipped' if os.environ.get('CONTAINERS') == 'optional' else 'failed'}: {error}")
        return int(os.environ.get("CONTAINERS") != "optional")
    except ContainersError as error:
        say(str(error))
        return 1
    left |= of_the_host(DATA) - before
    for trace in sorted(left):
        say(f"left behind: {trace}")
    say(
        f"{time.monotonic() - begin:.0f} s; {len(left)} containers, networks, volumes, mounts and processes left behind"
    )
    return status or int(bool(left))


def _run(running: Daemon, command: Sequence[str]) -> tuple[int, set[str]]:
    base_images(running.environment)
    build(running.environment)
    before = objects(running.environment)
    environment = {**running.environment, "CONTAINERS_READY": "1"}
    if running.supervisor is not None:
        environment["CONTAINERS_SUPERVISOR"] = str(running.supervisor)
    status = subprocess.run([*running.prefix, *command], env=environment, check=False).returncode
    return status, objects(running.environment) - before


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
