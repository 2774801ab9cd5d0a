"""Run a command with a Docker daemon and both images built: `python -m tools.containers pytest tests/containers`.

A reachable daemon is used. Otherwise, root starts one in separate network, mount and process namespaces; when it exits,
its containers, networks, firewall rules and mounts disappear with it. Images are kept in `.data/containers`.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tools.setup import ROOT
from tools.stack import valkey

DATA: Final = ROOT / ".data" / "containers"
NEEDED: Final = ("dockerd", "debootstrap", "iptables", "slirp4netns", "unshare", "nsenter", "ip")
PACKAGES: Final = "docker.io debootstrap iptables slirp4netns iproute2"
START: Final = 60.0
"""Seconds within which the daemon must respond."""
INSIDE: Final = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
ip link set lo up
exec dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" -H "unix://$1/sock"
"""
DOCKER: Final = next((path for path in ("/usr/bin/docker", shutil.which("docker")) if path and Path(path).exists()), "")
"""The packaged client takes precedence: a wrapper elsewhere on the path may lack BuildKit."""


class ContainersError(Exception):
    """Containers are not available; the message says what to do."""


def docker(*arguments: str, environment: Mapping[str, str]) -> str:
    """Run the Docker client and return its output.

    Raises:
        ContainersError: the client failed.
    """
    run = subprocess.run([DOCKER, *arguments], env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        tail = run.stderr.strip().splitlines()[-5:]
        msg = f"docker {arguments[0]} failed: {' / '.join(tail)}"
        raise ContainersError(msg)
    return run.stdout.strip()


def reachable(environment: Mapping[str, str]) -> bool:
    """Return whether a daemon responds."""
    return (
        bool(DOCKER)
        and not subprocess.run([DOCKER, "info"], env=environment, capture_output=True, check=False).returncode
    )


@contextmanager
def daemon() -> Iterator[tuple[dict[str, str], list[str]]]:
    """Yield the environment of a Docker client and the prefix of commands that reach published ports.

    Raises:
        ContainersError: no daemon responds and none can be started.
    """
    environment = {**os.environ, "DOCKER_BUILDKIT": "1"}
    if reachable(environment):
        yield environment, []
        return
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() or missing:
        msg = f"no Docker daemon responds; start one, or as root: apt-get install -y --no-install-recommends {PACKAGES}"
        raise ContainersError(msg)
    DATA.mkdir(parents=True, exist_ok=True)
    environment["DOCKER_HOST"] = f"unix://{DATA}/sock"
    shell = [
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "bash",
        "-c",
        INSIDE,
        "dockerd",
        str(DATA),
    ]
    with (DATA / "daemon.log").open("w", encoding="utf-8") as log:
        outer = subprocess.Popen(shell, stdout=log, stderr=log)
        uplink: subprocess.Popen[bytes] | None = None
        try:
            _wait(outer, environment)
            inner = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text(encoding="ascii").split()[0]
            slirp = ["slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", inner, "tap0"]
            uplink = subprocess.Popen(slirp, stdout=log, stderr=log)
            yield environment, ["nsenter", "--target", inner, "--net"]
            subprocess.run(["nsenter", "--target", inner, "--pid", "--mount", "kill", "1"], check=False)
            outer.wait(30)
        finally:
            for process in (uplink, outer):
                if process is not None:
                    process.kill()
                    process.wait()


def _wait(process: subprocess.Popen[bytes], environment: Mapping[str, str]) -> None:
    deadline = time.monotonic() + START
    while not reachable(environment):
        if process.poll() is not None or time.monotonic() > deadline:
            msg = f"dockerd did not start; see the end of {DATA / 'daemon.log'}"
            raise ContainersError(msg)
        time.sleep(0.3)


def base_images(environment: Mapping[str, str]) -> None:
    """Provide both base images: pull them, or build substitutes from Debian packages."""
    lines = (ROOT / "Dockerfile.api").read_text(encoding="utf-8").splitlines()
    python = next(line.removeprefix("FROM ") for line in lines if line.startswith("FROM "))
    lines = (ROOT / "docker-compose.yml").read_text(encoding="utf-8").splitlines()
    store = next(line.split()[1] for line in lines if "image: valkey/" in line)
    for tag in (python, store):
        if _present(tag, environment):
            continue
        say(f"building a substitute for {tag} from Debian packages: no image registry is reachable")
        if tag == python:
            _python(tag, environment)
        else:
            _store(tag, python, environment)


def _present(tag: str, environment: Mapping[str, str]) -> bool:
    for action in (("image", "inspect"), ("pull", "--quiet")):
        try:
            run = subprocess.run([DOCKER, *action, tag], env=environment, capture_output=True, check=False, timeout=120)
        except subprocess.TimeoutExpired:
            return False
        if not run.returncode:
            return True
    return False


def _python(tag: str, environment: Mapping[str, str]) -> None:
    root = DATA / "rootfs"
    shutil.rmtree(root, ignore_errors=True)
    include = "--include=python3,python3-pip,python3-venv,ca-certificates,redis-tools"
    with (DATA / "debootstrap.log").open("w", encoding="utf-8") as log:
        subprocess.run(
            ["debootstrap", "--variant=minbase", include, "bookworm", root], stdout=log, stderr=log, check=True
        )
    for marker in root.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    (root / "usr/bin/python").symlink_to("python3")
    for archive in root.glob("var/cache/apt/archives/*.deb"):
        archive.unlink()
    certificates = "etc/ssl/certs/ca-certificates.crt"
    shutil.copy(Path("/") / certificates, root / certificates)
    (root / "etc/pip.conf").write_text(f"[global]\ncert = /{certificates}\n", encoding="utf-8")
    path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(
            [DOCKER, "import", "-c", path, "-", tag], stdin=tar.stdout, stdout=subprocess.DEVNULL, env=environment,
            check=True,
        )  # fmt: skip
    shutil.rmtree(root)


def _store(tag: str, python: str, environment: Mapping[str, str]) -> None:
    folder = DATA / "valkey"
    folder.mkdir(exist_ok=True)
    shutil.copy(valkey(), folder / "valkey-server")
    (folder / "Dockerfile").write_text(
        f"FROM {python}\n"
        "RUN ln -s /usr/bin/redis-cli /usr/bin/valkey-cli \\\n"
        " && groupadd -g 999 valkey && useradd -u 999 -g 999 valkey && install -d -o 999 -g 999 /data\n"
        "COPY valkey-server /usr/local/bin/\n"
        "WORKDIR /data\n"
        'CMD ["valkey-server"]\n',
        encoding="utf-8",
    )
    docker("build", "--quiet", "--tag", tag, str(folder), environment=environment)


def build(environment: Mapping[str, str]) -> None:
    """Build the gateway and worker images, without GPU support."""
    for name, tag in (("api", "vultus-gateway:local"), ("worker", "vultus-worker-cpu:local")):
        begin = time.monotonic()
        docker(
            "build", "--quiet", "--network=host", "--build-arg", "HARDWARE=cpu", "--file", f"Dockerfile.{name}",
            "--tag", tag, ".", environment=environment,
        )  # fmt: skip
        say(f"{tag} built in {time.monotonic() - begin:.0f} s")


def say(line: str) -> None:
    """Print a line without buffering."""
    sys.stdout.write(f"containers: {line}\n")
    sys.stdout.flush()


def main(command: Sequence[str]) -> int:
    """Run the command with a daemon; return its exit status, or 1 if no daemon is available."""
    os.chdir(ROOT)
    try:
        with daemon() as (environment, prefix):
            base_images(environment)
            build(environment)
            marked = {**environment, "CONTAINERS_READY": "1"}
            return subprocess.run([*prefix, *command], env=marked, check=False).returncode
    except (ContainersError, subprocess.CalledProcessError, OSError) as error:
        say(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
