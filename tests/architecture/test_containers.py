"""The promises of the container files, checked without an engine."""

import re
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path

import pytest

from api.app import create_app
from api.http.server import GRACE
from api.settings.api import ApiSettings
from shared.settings import PREFIX, SharedSettings, load, names, refuse_unknown
from shared.webhooks.settings import WebhookSettings
from tests.architecture.containers import (
    COMPOSITIONS,
    CPU,
    DOCKERFILES,
    GPU,
    HARDWARE,
    ROOT,
    compose,
    composition,
    dockerfile,
    environment,
    every_service,
    instructions,
    locked,
    seconds,
    services,
)
from worker.courier.settings import CourierSettings
from worker.settings import WorkerSettings

KINDS: tuple[type[SharedSettings], ...] = (ApiSettings, CourierSettings, WorkerSettings)
PROCESSES = dict(zip(("gateway", "courier", "worker"), KINDS, strict=True))
CONTAINER_FILES = [*DOCKERFILES, ".dockerignore", "docker-compose.yml", "docker-compose.cpu.yml"]
MODEL_LIBRARIES = ("numpy", "opencv", "onnx", "insightface", "scikit-image", "scipy", "nvidia-")

WATCHERS = ("prometheus", "grafana", "flower")
"""From other projects, and started only by their profiles."""

each_composition = pytest.mark.parametrize("files", COMPOSITIONS.values(), ids=COMPOSITIONS)
each_dockerfile = pytest.mark.parametrize("name", DOCKERFILES)


# The files themselves


@each_composition
def test_compose_accepts_the_files(files: tuple[str, ...]) -> None:
    assert compose("config", "--quiet", files=files) == ""


@each_dockerfile
def test_hadolint_reports_nothing(name: str) -> None:
    run = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "--no-color", ROOT / name],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (0, "")


@each_dockerfile
def test_the_base_image_is_pinned_to_a_patch_release(name: str) -> None:
    assert re.fullmatch(r"python:3\.12\.\d+-slim-[a-z]+", dockerfile(name).baseimage)


def test_every_image_is_built_here_or_pinned_to_a_patch_release() -> None:
    for name, service in every_service():
        if "build" in service:
            assert service["image"].startswith("vultus-"), name
            assert service["pull_policy"] == "never", name
        else:
            assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+(-[a-z]+)?", service["image"]), name


@pytest.mark.parametrize("hardware", HARDWARE)
@each_dockerfile
def test_every_copied_path_exists_and_is_part_of_the_build_context(name: str, hardware: str) -> None:
    let_in = [line[1:] for line in ignore_lines() if line.startswith("!")]
    for value in instructions(name, "COPY", hardware=hardware):
        source = value.split()[0]
        assert (ROOT / source).exists(), source
        assert any(source.startswith(folder) for folder in let_in), f"{source} is kept out by .dockerignore"


def ignore_lines() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_only_the_service_itself_is_part_of_a_build_context() -> None:
    assert ignore_lines()[0] == "*"
    assert {line for line in ignore_lines() if line.startswith("!")} == {
        "!api/",
        "!shared/",
        "!worker/",
        "!requirements/",
    }


def test_no_weights_get_into_an_image() -> None:
    after = [line.removeprefix("**/") for line in ignore_lines() if not line.startswith("!")]
    assert any(fnmatch("det_10g.onnx", line) for line in after[1:])
    for name in DOCKERFILES:
        text = "\n".join(instructions(name, "RUN") + instructions(name, "COPY") + instructions(name, "ADD"))
        assert not re.search(r"\.onnx|buffalo|antelope|worker\.models install|curl|wget|https?:", text)


def test_no_registry_is_named() -> None:
    hosts = r"pypi|pythonhosted|npmjs|docker\.io|ghcr|quay\.io|nvcr|index-url"
    for name in [*CONTAINER_FILES, "deploy/compose.two-gpus.yml"]:
        assert not re.search(hosts, (ROOT / name).read_text(encoding="utf-8")), name


def test_each_image_holds_only_its_own_side() -> None:
    copied = {name: {value.split()[0] for value in instructions(name, "COPY")} for name in DOCKERFILES}
    courier = {"worker/__init__.py", "worker/courier/"}
    assert copied["Dockerfile.api"] == {"requirements/api.txt", "shared/", "api/"} | courier
    assert copied["Dockerfile.worker"] == {"requirements/worker-gpu.txt", "shared/", "worker/"}


# What is installed


def test_the_gateway_installs_no_model_library() -> None:
    assert [package for package in locked("api.txt") if package.startswith(MODEL_LIBRARIES)] == []


@pytest.mark.parametrize(
    ("hardware", "expected"), [("cpu", "onnxruntime"), ("gpu", "onnxruntime-gpu"), ("openvino", "onnxruntime")]
)
def test_a_worker_installs_exactly_one_onnxruntime(hardware: str, expected: str) -> None:
    found = [package for package in locked(f"worker-{hardware}.txt") if package.startswith(("onnxruntime", "ort-"))]
    assert found == [expected]


def test_only_the_openvino_set_contains_openvino() -> None:
    having = [hardware for hardware in HARDWARE if "openvino" in locked(f"worker-{hardware}.txt")]
    assert having == ["openvino"]


@pytest.mark.parametrize("hardware", HARDWARE)
def test_a_worker_installs_only_the_headless_opencv(hardware: str) -> None:
    found = [package for package in locked(f"worker-{hardware}.txt") if package.startswith("opencv")]
    assert found == ["opencv-python-headless"]


@each_dockerfile
def test_only_locked_and_hashed_wheels_are_installed(name: str) -> None:
    installs = [value for value in instructions(name, "RUN") if "pip install" in value]
    assert len(installs) == 1
    assert {"--no-deps", "--require-hashes", "--only-binary=:all:"} <= set(installs[0].split())


def test_the_model_libraries_send_no_telemetry_and_start_no_pools() -> None:
    told = dockerfile("Dockerfile.worker").envs
    assert {name: told[name] for name in ("ORT_DISABLE_TELEMETRY", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")} == {
        "ORT_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


# Settings


def kind_of(service: str) -> type[SharedSettings]:
    return PROCESSES.get(service, WorkerSettings)


def test_every_variable_is_a_setting_of_its_own_process() -> None:
    for name, service in every_service():
        refuse_unknown(service.get("environment", {}), known=names(kind_of(name)))


@each_dockerfile
def test_an_image_presets_nothing_that_compose_sets(name: str) -> None:
    assert [variable for variable in dockerfile(name).envs if variable.startswith(PREFIX)] == []


@pytest.mark.parametrize("service", PROCESSES)
def test_every_setting_of_a_process_can_be_set_through_compose(service: str) -> None:
    assert names(PROCESSES[service]) - set(services(GPU)[service]["environment"]) == set()


@pytest.mark.parametrize("files", [GPU, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize("service", PROCESSES)
def test_a_process_accepts_its_settings_from_compose(
    service: str, files: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment(services(files)[service]).items():
        monkeypatch.setenv(name, value)
    load(PROCESSES[service])


def test_a_value_from_outside_reaches_the_process() -> None:
    told = compose("config", files=GPU, environment={"VULTUS_PACK": "antelopev2", "VULTUS_LEASE": "20"})
    assert "VULTUS_PACK: antelopev2" in told
    assert told.count('VULTUS_LEASE: "20"') >= len(PROCESSES)


def test_all_processes_get_the_same_shared_settings() -> None:
    gateway, courier, worker = (services(GPU)[name]["environment"] for name in PROCESSES)
    shared, hooks = names(SharedSettings), names(WebhookSettings)
    assert {k: v for k, v in gateway.items() if k in shared} == {k: v for k, v in worker.items() if k in shared}
    assert {k: v for k, v in gateway.items() if k in hooks} == {k: v for k, v in courier.items() if k in hooks}


def test_a_courier_is_not_killed_during_an_attempt() -> None:
    assert seconds(services(GPU)["courier"]["stop_grace_period"]) >= CourierSettings().patience.total_seconds()


def test_the_ports_match() -> None:
    gateway = services(GPU)["gateway"]
    port = environment(gateway)["VULTUS_PORT"]
    assert [str(entry["target"]) for entry in gateway["ports"]] == [port]
    assert instructions("Dockerfile.api", "EXPOSE") == [port]
    assert port in gateway["healthcheck"]["test"][-1]


def test_the_gateway_check_requests_an_existing_path() -> None:
    (path,) = re.findall(r'"(/\w+)"', services(GPU)["gateway"]["healthcheck"]["test"][-1])
    assert path in create_app(ApiSettings()).openapi()["paths"]


@pytest.mark.parametrize("service", ["worker", "courier"])
def test_the_check_reads_the_file_that_the_process_touches(service: str) -> None:
    worker = services(GPU)[service]
    assert environment(worker)["VULTUS_READY_FILE"] in worker["healthcheck"]["test"][-1]


# Who reaches whom


@each_composition
def test_only_the_gateway_is_published_and_only_to_this_machine(files: tuple[str, ...]) -> None:
    published = {name: service["ports"] for name, service in services(files).items() if service.get("ports")}
    assert [name for name in published if "profiles" not in services(files)[name]] == ["gateway"]
    assert set(published) == {"gateway", "grafana", "flower"}
    assert {entry["host_ip"] for ports in published.values() for entry in ports} == {"127.0.0.1"}


@each_composition
def test_the_stores_and_the_workers_have_no_route_out(files: tuple[str, ...]) -> None:
    assert composition(files)["networks"]["store"]["internal"] is True
    outside = {name for name, service in services(files).items() if set(service["networks"]) != {"store"}}
    assert outside <= {"gateway", "courier", "models", *WATCHERS}


@pytest.mark.parametrize("service", PROCESSES)
def test_the_store_addresses_are_services_on_the_same_network(service: str) -> None:
    told = environment(services(GPU)[service])
    for variable in ("VULTUS_LEDGER_URL", "VULTUS_BROKER_URL"):
        host = re.fullmatch(r"redis://(\w+):6379/0", told[variable])
        assert host
        assert set(services(GPU)[host[1]]["networks"]) <= set(services(GPU)[service]["networks"])


def test_monitoring_starts_only_on_request_and_reaches_no_receiver() -> None:
    for name in WATCHERS:
        assert services(GPU)[name]["profiles"]
        assert set(services(GPU)[name]["networks"]) <= {"store", "watch"}


def test_flower_does_not_start_without_a_password() -> None:
    entrypoint = [part.replace("$$", "$") for part in services(GPU)["flower"]["entrypoint"]]
    assert entrypoint[:2] == ["sh", "-c"]

    def started(given: str) -> subprocess.CompletedProcess[str]:
        told = {"PATH": "/nowhere", "FLOWER_BASIC_AUTH": given}
        return subprocess.run(["/bin/sh", *entrypoint[1:]], env=told, capture_output=True, text=True, check=False)

    for given in ("", "user", "user:", ":long-enough", "user:short"):
        assert (started(given).returncode, "FLOWER_BASIC_AUTH" in started(given).stderr) == (2, True), given
    assert started("user:long-enough").returncode == 127, "it gets as far as starting it"


def test_flower_is_tested_in_the_version_of_its_image() -> None:
    version = services(GPU)["flower"]["image"].rpartition(":")[2]
    assert f"flower=={version} " in (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")


def test_nobody_can_log_in_to_grafana_and_change_dashboards() -> None:
    told = environment(services(GPU)["grafana"])
    assert (told["GF_AUTH_DISABLE_LOGIN_FORM"], told["GF_AUTH_BASIC_ENABLED"]) == ("true", "false")
    assert told["GF_AUTH_ANONYMOUS_ORG_ROLE"] == "Viewer"


# What a container may do


def test_no_container_is_root_or_can_change_anything() -> None:
    for name, service in every_service():
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"]), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert not {"cap_add", "privileged", "pid", "ipc", "network_mode"} & set(service), name


@each_dockerfile
def test_an_image_runs_as_the_same_user_as_its_service(name: str) -> None:
    (user,) = instructions(name, "USER")
    built = [
        s for files in (GPU, CPU) for s in services(files).values() if s.get("build", {}).get("dockerfile") == name
    ]
    assert {service["user"] for service in built} == {user}


def test_every_container_has_a_reaper_and_bounded_logs() -> None:
    for name, service in every_service():
        assert service["init"] is True, name
        assert set(service["logging"]["options"]) == {"max-size", "max-file"}, name


@each_composition
def test_only_the_installer_may_write_models(files: tuple[str, ...]) -> None:
    writable = {
        name
        for name, service in services(files).items()
        for mount in service.get("volumes", [])
        if mount["target"] == "/models" and not mount.get("read_only")
    }
    assert writable <= {"models"}


# Starting, scaling, stopping


def test_every_service_can_be_scaled() -> None:
    for name, service in every_service():
        assert not {"container_name", "hostname"} & service.keys(), name
        assert name in {"gateway", *WATCHERS} or not service.get("ports"), name


@each_composition
def test_every_long_running_service_has_a_health_check(files: tuple[str, ...]) -> None:
    silent = {name for name, service in services(files).items() if "healthcheck" not in service}
    assert silent <= {"models"}


@each_composition
def test_gateway_and_worker_wait_for_the_stores_but_not_for_each_other(files: tuple[str, ...]) -> None:
    for name in PROCESSES:
        waits = services(files)[name]["depends_on"]
        assert {store: how["condition"] for store, how in waits.items()} == {
            "ledger": "service_healthy",
            "broker": "service_healthy",
        }


@each_composition
def test_a_worker_is_not_killed_while_it_drains(files: tuple[str, ...]) -> None:
    drain = WorkerSettings.model_fields["drain"].default.total_seconds()
    for name, service in services(files).items():
        if name.startswith("worker"):
            assert seconds(service["stop_grace_period"]) >= drain + 5


def test_the_gateway_is_not_killed_while_it_answers_open_requests() -> None:
    assert seconds(services(GPU)["gateway"]["stop_grace_period"]) >= GRACE.total_seconds() + 5


# The manual


def test_the_manual_names_every_variable_that_compose_reads() -> None:
    files = ("docker-compose.yml", "docker-compose.cpu.yml", "deploy/compose.two-gpus.yml")
    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in files)
    read = {name for name in re.findall(r"\$\{(\w+)", text) if not name.startswith(PREFIX)}
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    assert {name for name in read if f"`{name}`" not in manual} == set()
