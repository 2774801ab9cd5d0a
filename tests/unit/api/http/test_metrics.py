"""Metrics of the gateway, with a bounded number of label values."""

from prometheus_client import REGISTRY

from tests.unit.api.conftest import Gateway


def requests(route: str, status: int, method: str = "GET") -> float:
    labels = {"method": method, "route": route, "status": str(status)}
    return REGISTRY.get_sample_value("vultus_http_requests_total", labels) or 0.0


def test_requests_are_counted_by_template_and_not_by_path(gateway: Gateway) -> None:
    before = requests("/v1/jobs/{job_id}", 404)
    for number in range(3):
        gateway.get(f"/v1/jobs/job_00{number:032x}")
    assert requests("/v1/jobs/{job_id}", 404) == before + 3


def test_unknown_paths_share_one_label(gateway: Gateway) -> None:
    before = requests("-", 404)
    gateway.get("/wp-admin")
    gateway.get("/.env")
    assert requests("-", 404) == before + 2


def test_unknown_methods_share_one_label(gateway: Gateway) -> None:
    gateway.request("BREW", "/livez")
    gateway.request("PROPFIND", "/livez")
    methods = {
        sample.labels["method"]
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "vultus_http_requests_total"
    }
    assert "other" in methods
    assert not {"BREW", "PROPFIND"} & methods


def test_no_request_is_in_progress_after_all_responses(gateway: Gateway) -> None:
    gateway.get("/livez")
    assert REGISTRY.get_sample_value("vultus_http_requests_in_progress") == 0


def test_a_route_is_counted_from_zero(gateway: Gateway) -> None:
    assert gateway.get("/livez").status_code == 200
    for status in ("202", "401", "404", "429", "500", "503"):
        labels = {"method": "POST", "route": "/v1/jobs", "status": status}
        assert REGISTRY.get_sample_value("vultus_http_requests_total", labels) is not None
    labels = {"method": "GET", "route": "/v1/jobs/{job_id}"}
    assert REGISTRY.get_sample_value("vultus_http_request_duration_seconds_count", labels) is not None
