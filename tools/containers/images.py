"""Images: the pinned bases, pulled or made from Debian packages under the same tags, and our own."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from tools.containers.client import DOCKER, NoContainersError, docker, say
from tools.containers.daemon import DATA
from tools.setup import ROOT
from tools.stack import valkey

RELEASE: Final = "bookworm"
PACKAGES: Final = ("python3", "python3-pip", "python3-venv", "ca-certificates", "redis-tools", "wget")
UNREAD: Final = ("man", "doc", "locale")
CERTIFICATES: Final = "etc/ssl/certs/ca-certificates.crt"
PULL: Final = 120
"""Seconds until a registry that does not answer is given up."""
STORE: Final = """\
FROM {python}
RUN ln -s /usr/bin/redis-cli /usr/bin/valkey-cli \\
 && groupadd -g 999 valkey && useradd -u 999 -g 999 valkey && install -d -o 999 -g 999 /data
COPY valkey-server /usr/local/bin/
WORKDIR /data
CMD ["valkey-server"]
"""
WATCHER: Final = """\
FROM {python}
RUN apt-get update && apt-get install -y --no-install-recommends prometheus prometheus-alertmanager \\
 && rm -rf /var/lib/apt/lists/* && install -d -o 65534 -g 65534 /prometheus /alertmanager
USER 65534:65534
"""
PROXY: Final = """\
FROM {python}
RUN apt-get update && apt-get install -y --no-install-recommends caddy libcap2-bin && rm -rf /var/lib/apt/lists/* \\
 && setcap cap_net_bind_service+ep /usr/bin/caddy
ENV XDG_CONFIG_HOME=/config XDG_DATA_HOME=/data
CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
"""
ALERTMANAGER: Final = "prom/alertmanager:v0.28.1"
"""Not part of the deployment: the alerts' routes are the operator's."""
OURS: Final = {
    "vultus-gateway": ("Dockerfile.api", "."),
    "vultus-worker-cpu": ("Dockerfile.worker", "."),
    "vultus-proxy": ("deploy/Dockerfile.proxy", "deploy"),
}
"""Each image, its Dockerfile, and the folder that it is built from."""


def base_images(environment: Mapping[str, str]) -> None:
    """Make sure that every base image is there: pulled, or a stand-in made from Debian packages.

    Raises:
        NoContainersError: neither a registry nor Debian's packages can be reached.
    """
    python = _named("Dockerfile.api", r"^FROM (\S+)")
    store = _named("docker-compose.yml", r"image: (valkey/\S+)")
    proxy = _named("deploy/Dockerfile.proxy", r"^FROM (\S+)")
    makers: dict[str, Callable[[], None]] = {
        python: lambda: _python(python, environment),
        store: lambda: _stand_in(store, STORE.format(python=python), environment, copied=Path(valkey())),
        proxy: lambda: _stand_in(proxy, PROXY.format(python=python), environment),
    }
    if "CONTAINERS_WATCHING" in os.environ:
        prometheus = _named("docker-compose.yml", r"image: (prom/prometheus\S+)")
        for tag, program in ((prometheus, "prometheus"), (ALERTMANAGER, "prometheus-alertmanager")):
            dockerfile = f'{WATCHER.format(python=python)}ENTRYPOINT ["{program}"]\n'
            makers[tag] = partial(_stand_in, tag, dockerfile, environment)
    for tag, make in makers.items():
        if _present(tag, environment):
            continue
        begin = time.monotonic()
        make()
        seconds = time.monotonic() - begin
        say(f"no registry has {tag}: made a stand-in from Debian packages in {seconds:.0f} s")


def _named(file: str, pattern: str) -> str:
    named = re.search(pattern, (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)
    if named is None:
        msg = f"{file} names no base image"
        raise NoContainersError(msg)
    return named[1]


def _present(tag: str, environment: Mapping[str, str]) -> bool:
    for action in (("image", "inspect"), ("pull", "--quiet")):
        try:
            run = subprocess.run(
                [DOCKER, *action, tag], env=environment, capture_output=True, check=False, timeout=PULL
            )
        except subprocess.TimeoutExpired:
            return False
        if not run.returncode:
            return True
    return False


def _python(tag: str, environment: Mapping[str, str]) -> None:
    archive, log = DATA / "base.tar", DATA / "mmdebstrap.log"
    DATA.mkdir(parents=True, exist_ok=True)
    command = ["mmdebstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in UNREAD]
    command += [
        '--customize-hook=rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED && ln -s python3 "$1"/usr/bin/python',
        f"--customize-hook=upload /{CERTIFICATES} /{CERTIFICATES}",
        f"--customize-hook=printf '[global]\\ncert = /{CERTIFICATES}\\n' > \"$1\"/etc/pip.conf",
    ]
    with log.open("w", encoding="utf-8") as lines:
        run = subprocess.run([*command, RELEASE, archive], stdout=lines, stderr=lines, check=False)
    if run.returncode:
        msg = f"neither a registry nor Debian's packages give a base image; the reason is at the end of {log}"
        raise NoContainersError(msg)
    path = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    docker("import", "--change", path, str(archive), tag, environment=environment)
    archive.unlink()


def _stand_in(tag: str, dockerfile: str, environment: Mapping[str, str], *, copied: Path | None = None) -> None:
    folder = DATA / "stand-in"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text(dockerfile, encoding="utf-8")
    if copied is not None:
        shutil.copy(copied, folder)
    docker("build", "--quiet", "--network=host", "--tag", tag, str(folder), environment=environment)
    shutil.rmtree(folder)


def build(environment: Mapping[str, str]) -> None:
    """Build every image of ours that needs no GPU."""
    for name, (dockerfile, folder) in OURS.items():
        seconds = build_image(f"{name}:local", environment, dockerfile=dockerfile, folder=folder)
        say(f"{name}:local built in {seconds:.0f} s")


def build_image(
    tag: str, environment: Mapping[str, str], *, dockerfile: str, folder: str, hardware: str = "cpu"
) -> float:
    """Build an image of ours from a folder and return the seconds that it took."""
    begin = time.monotonic()
    docker(
        "build", "--quiet", "--network=host", "--build-arg", f"HARDWARE={hardware}", "--file", dockerfile,
        "--tag", tag, folder, environment=environment,
    )  # fmt: skip
    return time.monotonic() - begin
