"""The promises of the Kubernetes files, checked without a cluster."""

import re
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

from api.http.server import GRACE
from api.settings.api import ApiSettings
from shared.settings import FILE, PREFIX, SharedSettings, names, refuse_unknown
from tests.architecture.containers import GPU, instructions, services
from tests.architecture.containers import seconds as duration
from tests.architecture.manifests import (
    KUBERNETES,
    OVERLAYS,
    VERSION,
    Resource,
    container,
    deployed,
    environment,
    kustomization,
    one,
    pods,
    read,
)
from tests.contract.metrics import families
from worker.courier.settings import CourierSettings
from worker.settings import WorkerSettings

KINDS: dict[str, type[SharedSettings]] = {"gateway": ApiSettings, "courier": CourierSettings, "worker": WorkerSettings}
OTHERS = {"ScaledObject", "ServiceMonitor"}
"""Kinds from other projects, whose schemas do not come with Kubernetes."""
TEXT = {"type": "string", "minLength": 1}
TRIGGER = {
    "type": "object",
    "required": ["type", "metadata"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "prometheus"},
        "name": TEXT,
        "metadata": {
            "type": "object",
            "required": ["serverAddress", "query", "threshold"],
            "additionalProperties": False,
            "properties": {
                "serverAddress": {"type": "string", "pattern": r"^http://[a-z.-]+:\d+$"},
                "query": TEXT,
                "threshold": {"type": "string", "pattern": r"^\d+(\.\d+)?$"},
            },
        },
    },
}
SCHEMAS: dict[str, Any] = {
    "ScaledObject": {
        "type": "object",
        "required": ["scaleTargetRef", "triggers"],
        "additionalProperties": False,
        "properties": {
            "scaleTargetRef": {"type": "object", "required": ["name"]},
            "minReplicaCount": {"type": "integer", "minimum": 0},
            "maxReplicaCount": {"type": "integer", "minimum": 1},
            "pollingInterval": {"type": "integer", "minimum": 1},
            "cooldownPeriod": {"type": "integer", "minimum": 0},
            "fallback": {
                "type": "object",
                "required": ["failureThreshold", "replicas"],
                "additionalProperties": False,
                "properties": {"failureThreshold": {"type": "integer"}, "replicas": {"type": "integer"}},
            },
            "triggers": {"type": "array", "minItems": 1, "items": TRIGGER},
        },
    },
    "ServiceMonitor": {
        "type": "object",
        "required": ["selector", "endpoints"],
        "additionalProperties": False,
        "properties": {
            "selector": {"type": "object", "required": ["matchLabels"]},
            "endpoints": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "required": ["port"],
                    "additionalProperties": False,
                    "properties": {
                        "port": TEXT,
                        "path": TEXT,
                        "interval": {"type": "string", "pattern": r"^\d+s$"},
                        "scrapeTimeout": {"type": "string", "pattern": r"^\d+s$"},
                        "relabelings": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "additionalProperties": False,
                                "properties": {
                                    "sourceLabels": {"type": "array", "items": TEXT},
                                    "targetLabel": TEXT,
                                    "regex": TEXT,
                                    "action": {"enum": ["keep", "drop", "replace"]},
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
"""The part of their custom resources that is used here: an unknown field or a wrong type is refused."""

each_overlay = pytest.mark.parametrize("overlay", OVERLAYS)
each_process = pytest.mark.parametrize("process", KINDS)
FILES = sorted(path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(KUBERNETES)))
def test_every_resource_is_valid_for_the_cluster(path: Any) -> None:
    for resource in read(path):
        if resource["kind"] in OTHERS:
            assert list(Draft202012Validator(SCHEMAS[resource["kind"]]).iter_errors(resource["spec"])) == []
        else:
            kubernetes_validate.validate(resource, VERSION, strict=True)


def test_a_wrong_field_would_be_detected() -> None:
    (scaled,) = read(KUBERNETES / "overlays" / "gpu" / "scaling.yaml")
    scaled["spec"]["minReplicas"] = 1
    assert list(Draft202012Validator(SCHEMAS["ScaledObject"]).iter_errors(scaled["spec"]))
    gateway = {**one("gpu", "Deployment", "gateway"), "replicas": 2}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(gateway, VERSION, strict=True)


def test_every_file_belongs_to_a_kustomization() -> None:
    for path in FILES:
        assert path.name in kustomization(path.parent)["resources"], path


# What runs


@each_overlay
def test_all_processes_and_both_stores_are_present(overlay: str) -> None:
    assert set(pods(overlay)) == {"gateway", "courier", "worker", "ledger", "broker"}


@each_overlay
def test_each_of_our_images_is_named_by_the_overlay_and_built_by_compose(overlay: str) -> None:
    built = {service["image"].partition(":")[0] for service in services(GPU).values() if "build" in service}
    built |= {"vultus-worker-cpu"}
    used = {container(pod)["image"] for pod in pods(overlay).values()} - {services(GPU)["ledger"]["image"]}
    assert used <= built
    assert {image["name"] for image in kustomization(KUBERNETES / "overlays" / overlay)["images"]} == used


@each_overlay
@pytest.mark.parametrize("store", ["ledger", "broker"])
def test_a_store_runs_as_under_compose(overlay: str, store: str) -> None:
    found, composed = container(pods(overlay)[store]), services(GPU)[store]
    assert found["image"] == composed["image"]
    assert found["args"] == composed["command"][1:]
    assert found["command"][0] == composed["command"][0] == "valkey-server"


def test_commands_match_the_images() -> None:
    assert container(pods("gpu")["courier"])["command"] == services(GPU)["courier"]["command"]
    assert "command" not in container(pods("gpu")["gateway"])
    assert "command" not in container(pods("gpu")["worker"])
    assert container(pods("install-pack")["install-pack"])["command"] == services(GPU)["models"]["entrypoint"]


# Settings


@each_overlay
@each_process
def test_every_variable_is_a_setting_of_its_own_process(overlay: str, process: str) -> None:
    variables = environment(overlay, pods(overlay)[process])
    plain = {name.removesuffix(FILE) for name in variables if name.startswith(PREFIX)}
    refuse_unknown(plain, known=names(KINDS[process]))


@each_overlay
@each_process
def test_a_process_accepts_its_settings(overlay: str, process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(overlay, pods(overlay)[process]).items():
        if not name.endswith(FILE):
            monkeypatch.setenv(name, value)
    KINDS[process]()


@each_overlay
def test_every_file_in_a_setting_is_mounted_and_no_secret_is_inline(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
        mounts = {mount["name"]: mount["mountPath"] for mount in container(pod)["volumeMounts"]}
        files = {f"{mounts['secrets']}/{item['path']}" for item in volumes["secrets"]["secret"]["items"]}
        named = {value for key, value in environment(overlay, pod).items() if key.endswith(FILE)}
        named |= {value for value in container(pod).get("command", []) if value.startswith("/run/secrets")}
        assert named == files, name
    assert not [resource for resource in deployed(overlay) if resource["kind"] == "Secret"]


@each_overlay
@each_process
def test_the_ports_match(overlay: str, process: str) -> None:
    pod = pods(overlay)[process]
    ports = {port["name"]: str(port["containerPort"]) for port in container(pod)["ports"]}
    variables = environment(overlay, pod)
    assert ports["metrics"] == variables["VULTUS_METRICS_PORT"]
    assert variables["VULTUS_METRICS_HOST"] == "0.0.0.0"  # noqa: S104 - a pod's own
    if process == "gateway":
        assert [ports["http"]] == [variables["VULTUS_PORT"]] == instructions("Dockerfile.api", "EXPOSE")


@each_overlay
@each_process
def test_probes_request_the_paths_of_the_monitor(overlay: str, process: str) -> None:
    found = container(pods(overlay)[process])
    probes = {kind: found[f"{kind}Probe"]["httpGet"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: probe["port"] for kind, probe in probes.items()} == dict.fromkeys(probes, "metrics")
    assert [probes[kind]["path"] for kind in ("startup", "readiness", "liveness")] == ["/readyz", "/readyz", "/livez"]


# Who may do what, and reach whom


@each_overlay
def test_a_pod_is_unprivileged_and_can_change_nothing(overlay: str) -> None:
    for name, pod in {**pods(overlay), **pods("install-pack")}.items():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True, name
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)


def test_users_match_the_images() -> None:
    for process in ("gateway", "courier", "worker"):
        user = pods("gpu")[process]["spec"]["securityContext"]["runAsUser"]
        assert services(GPU)[process]["user"] == f"{user}:{user}"


def reached(overlay: str, name: str, direction: str) -> list[Resource]:
    """The rules of the policies that select the pods of this name."""
    found = []
    labels = pods(overlay)[name]["metadata"]["labels"]
    for policy in (r for r in deployed(overlay) if r["kind"] == "NetworkPolicy"):
        if selects(policy["spec"]["podSelector"], labels):
            found += policy["spec"].get(direction, [])
    return found


def selects(selector: Resource, labels: dict[str, str]) -> bool:
    """Whether a selector matches these labels."""
    wanted = selector.get("matchLabels", {})
    return wanted.items() <= labels.items() and all(
        labels.get(each["key"]) in each["values"] for each in selector.get("matchExpressions", [])
    )


@each_overlay
def test_everything_is_closed_unless_a_policy_opens_it(overlay: str) -> None:
    closed = one(overlay, "NetworkPolicy", "nothing-else")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


@each_overlay
def test_only_courier_and_gateway_reach_out_never_into_private_networks(overlay: str) -> None:
    for name in pods(overlay):
        blocks = [to["ipBlock"] for rule in reached(overlay, name, "egress") for to in rule["to"] if "ipBlock" in to]
        assert bool(blocks) == (name in {"courier", "gateway"}), name
        for block in blocks:
            assert {"10.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16"} <= set(block["except"])


@each_overlay
def test_only_our_processes_reach_the_stores_and_clients_only_the_gateway(overlay: str) -> None:
    for store in ("ledger", "broker"):
        (rule,) = reached(overlay, store, "ingress")
        takes = [
            name
            for name, pod in pods(overlay).items()
            if selects(rule["from"][0]["podSelector"], pod["metadata"]["labels"])
        ]
        assert sorted(takes) == ["courier", "gateway", "worker"]
    anybody = [name for name in pods(overlay) if any("from" not in rule for rule in reached(overlay, name, "ingress"))]
    assert anybody == ["gateway"]


@each_overlay
def test_only_the_prometheus_namespace_reaches_metrics(overlay: str) -> None:
    for process in KINDS:
        rules = [rule for rule in reached(overlay, process, "ingress") if {"port": "metrics"} in rule["ports"]]
        assert [list(rule["from"][0]) for rule in rules] == [["namespaceSelector"]]


# Starting, scaling, stopping


@each_overlay
def test_an_autoscaled_workload_has_no_fixed_number_of_replicas(overlay: str) -> None:
    for name in ("gateway", "worker"):
        assert "replicas" not in one(overlay, "Deployment", name)["spec"]
    assert one(overlay, "HorizontalPodAutoscaler", "gateway")["spec"]["scaleTargetRef"]["name"] == "gateway"
    assert one(overlay, "ScaledObject", "worker")["spec"]["scaleTargetRef"]["name"] == "worker"


@each_overlay
def test_workers_scale_by_existing_metrics(overlay: str) -> None:
    known = {name for family in families() for name in family.series}
    queries = [each["metadata"]["query"] for each in one(overlay, "ScaledObject", "worker")["spec"]["triggers"]]
    used = {name for query in queries for name in re.findall(r"vultus_\w+", query)}
    assert "vultus_ledger_queue_oldest_seconds" in used
    assert used <= known


@each_overlay
def test_no_pod_is_killed_while_it_drains(overlay: str) -> None:
    grace = {name: pod["spec"].get("terminationGracePeriodSeconds", 30) for name, pod in pods(overlay).items()}
    delay = float(environment(overlay, pods(overlay)["gateway"])["VULTUS_DRAIN_DELAY"])
    assert delay >= 5
    assert grace["gateway"] >= delay + GRACE.total_seconds() + 5
    assert grace["worker"] >= WorkerSettings.model_fields["drain"].default.total_seconds() + 5
    assert grace["courier"] >= CourierSettings().patience.total_seconds()
    assert grace["ledger"] >= duration(services(GPU)["ledger"]["stop_grace_period"])


@each_overlay
def test_cpu_is_never_limited_and_memory_always_is(overlay: str) -> None:
    for name, pod in pods(overlay).items():
        resources = container(pod)["resources"]
        assert "cpu" not in resources["limits"], name
        assert "memory" in resources["limits"]
        assert {"cpu", "memory"} <= set(resources["requests"])


def test_only_a_gpu_worker_gets_a_gpu_and_a_whole_one() -> None:
    limits = {name: container(pod)["resources"]["limits"] for name, pod in pods("gpu").items()}
    assert {name for name, found in limits.items() if "nvidia.com/gpu" in found} == {"worker"}
    assert limits["worker"]["nvidia.com/gpu"] == "1"
    assert environment("gpu", pods("gpu")["worker"])["VULTUS_PROVIDER"] == "cuda"


def test_a_cpu_worker_runs_as_many_jobs_as_it_requests_cores() -> None:
    worker = pods("cpu")["worker"]
    assert environment("cpu", worker)["VULTUS_WORKER_THREADS"] == container(worker)["resources"]["requests"]["cpu"]


@each_overlay
def test_disruptions_take_one_pod_of_a_kind_at_a_time(overlay: str) -> None:
    for name in ("gateway", "courier", "worker"):
        budget = one(overlay, "PodDisruptionBudget", name)["spec"]
        assert budget["maxUnavailable"] == 1
        assert selects(budget["selector"], pods(overlay)[name]["metadata"]["labels"])


@each_overlay
def test_services_find_their_pods_and_the_monitor_its_service(overlay: str) -> None:
    for service in (r for r in deployed(overlay) if r["kind"] == "Service"):
        found = [
            pod
            for pod in pods(overlay).values()
            if selects({"matchLabels": service["spec"]["selector"]}, pod["metadata"]["labels"])
        ]
        assert found, service["metadata"]["name"]
    monitor = one(overlay, "ServiceMonitor", "vultus")["spec"]
    assert selects(monitor["selector"], one(overlay, "Service", "metrics")["metadata"]["labels"])
    assert monitor["endpoints"][0]["port"] == one(overlay, "Service", "metrics")["spec"]["ports"][0]["name"]


def test_the_manual_names_every_key_of_the_secret() -> None:
    manual = (KUBERNETES.parents[1] / "docs" / "kubernetes.md").read_text(encoding="utf-8")
    for pod in pods("gpu").values():
        for volume in pod["spec"]["volumes"]:
            for item in volume.get("secret", {}).get("items", []):
                assert f"--from-literal={item['key']}=" in manual or f"--from-file={item['key']}" in manual
