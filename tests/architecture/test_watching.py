"""Dashboard, alerts and scrape configuration use existing metrics, in the way they may be used."""

import json
import re
from collections.abc import Iterator
from typing import Final

import yaml  # type: ignore[import-untyped]

from tests.architecture.containers import ROOT, environment, services
from tests.architecture.manifests import KUBERNETES, one
from tests.contract.metrics import families
from tests.watching.deployed import alerts, panels

DEPLOY: Final = ROOT / "deploy"
LABELS: Final = {name: set(family.labels) for family in families() for name in family.series}
OF_EVERY_PROCESS: Final = {"up", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"}
GIVEN: Final = {"instance", "job", "le"}
"""Labels that Prometheus adds, and the label of a histogram's buckets."""
WORDS: Final = {
    "sum", "max", "min", "count", "rate", "increase", "histogram_quantile", "absent", "by", "on", "or",
}  # fmt: skip


def queries() -> Iterator[str]:
    yield from (rule["expr"] for rule in alerts())
    yield from (target["expr"] for panel in panels() for target in panel["targets"])
    for overlay in ("cpu", "gpu"):
        for trigger in one(overlay, "ScaledObject", "worker")["spec"]["triggers"]:
            yield trigger["metadata"]["query"]


QUERIES: Final = tuple(queries())


def without_strings(query: str) -> str:
    return re.sub(r'"[^"]*"', '""', query)


def test_every_query_uses_existing_metrics() -> None:
    for query in QUERIES:
        plain = without_strings(query)
        for name, matchers in re.findall(r"([a-z_]{4,})\{([^}]*)\}", plain):
            assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= LABELS.get(name, set()) | GIVEN, query
        words = set(re.findall(r"[a-z_]+(?![a-z_])", re.sub(r"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)", " ", plain)))
        names = words - WORDS
        assert names, query
        assert names <= set(LABELS) | OF_EVERY_PROCESS, query


def test_every_query_groups_by_labels_of_its_metrics() -> None:
    for query in QUERIES:
        names = re.findall(r"vultus_\w+|process_\w+|\bup\b", without_strings(query))
        have = set().union(*(LABELS.get(name, set()) for name in names)) | GIVEN
        for grouped in re.findall(r"by \(([^)]*)\)", query):
            assert set(grouped.replace(" ", "").split(",")) <= have, query


def test_metrics_that_every_gateway_repeats_are_never_summed() -> None:
    """Inside each `sum` over the ledger's metrics is a `max`, or there is a `max` around a sum per gateway."""
    for query in (each for each in QUERIES if "vultus_ledger_" in each):
        assert re.search(r"\b(max|min)\b", query), query
        for found in re.finditer(r"\bsum(?: by \(([^)]*)\))? ?\((?!max|\s*max)", query):
            first = re.search(r"vultus_\w+", query[found.end() :])
            if first and first[0].startswith("vultus_ledger_"):
                assert "instance" in (found[1] or ""), query


def test_every_query_is_complete() -> None:
    for query in QUERIES:
        plain = without_strings(query)
        assert plain.count("(") == plain.count(")"), query
        assert plain.count("{") == plain.count("}"), query
        for _, window in re.findall(r"\b(rate|increase)\((?:[^()]|\([^)]*\))*?\[(\w+)\]", plain):
            assert re.fullmatch(r"\d+[mh]", window), query
        for name in re.findall(r"vultus_\w+", plain):
            counted = name.endswith(("_total", "_bucket", "_sum", "_count"))
            assert counted == bool(re.search(rf"(rate|increase)\({name}", plain)), query


def test_an_alert_states_its_urgency_and_cause() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
    assert len({rule["alert"] for rule in alerts()}) == len(alerts())


def test_the_manual_covers_every_alert() -> None:
    manual = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(Vultus\w+)` \|", manual, flags=re.MULTILINE))
    assert documented == {rule["alert"] for rule in alerts()}


def test_the_dashboard_shows_every_metric() -> None:
    shown = " ".join(target["expr"] for panel in panels() for target in panel["targets"])
    missing = {family.name for family in families() if not any(name in shown for name in family.series)}
    assert missing == set()


def test_the_dashboard_is_valid_for_grafana() -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "dashboards" / "vultus.json").read_text(encoding="utf-8"))
    assert (dashboard["uid"], dashboard["title"]) == ("vultus", "Vultus")
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/prometheus.yml").read_text(encoding="utf-8"))
    (prometheus,) = source["datasources"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {prometheus["uid"]}


def test_prometheus_finds_every_process_of_the_composition_by_its_name() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    found = {each["job_name"]: each["dns_sd_configs"][0] for each in scraped}
    assert set(found) == {"vultus-gateway", "vultus-worker", "vultus-courier"}
    two = services(("docker-compose.yml", "deploy/compose.two-gpus.yml"))
    ours = {name for name, service in two.items() if "VULTUS_METRICS_PORT" in service.get("environment", {})}
    assert {name for each in found.values() for name in each["names"]} == ours
    assert {str(each["port"]) for each in found.values()} == {
        environment(two[name])["VULTUS_METRICS_PORT"] for name in ours
    }


def test_the_scrape_jobs_of_the_cluster_match_the_composition() -> None:
    jobs = set(re.findall(r'job="([\w-]+)"', (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")))
    (relabel, *_) = one("gpu", "ServiceMonitor", "vultus")["spec"]["endpoints"][0]["relabelings"]
    assert (relabel["sourceLabels"], relabel["targetLabel"]) == (
        ["__meta_kubernetes_pod_label_app_kubernetes_io_name"],
        "job",
    )
    labels = {
        one("gpu", "Deployment", name)["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/name"]
        for name in ("gateway", "worker", "courier")
    }
    assert jobs <= labels
    assert KUBERNETES.is_dir()
