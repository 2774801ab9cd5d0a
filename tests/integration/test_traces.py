"""From submission to callback: one trace across gateway, worker and courier, and log lines that correlate."""

import json
import secrets
from collections.abc import Iterator

import pytest
import requests

from tests.integration.collector import Collector, Seen
from tests.integration.fetching_site import leave
from tests.integration.hostile import Hostile
from tests.integration.watched_stack import PHOTO, Watched, soon, watched
from tests.proxies import DEAD_PROXIES

FAKE_STAGES = {"decode", "detect", "align", "embed"}


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


@pytest.fixture(scope="module")
def web() -> Iterator[Hostile]:
    """A host of images for jobs by URL."""
    server = Hostile()
    yield server
    server.close()


@pytest.fixture(scope="module")
def seen(collector: Collector, web: Hostile, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    settings = {
        **DEAD_PROXIES,  # neither fetches nor spans nor callbacks go through a proxy from the environment
        **leave(web),
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "VULTUS_WEBHOOK_TRACEPARENT": "true",
    }
    with watched(tmp_path_factory.mktemp("traces"), settings=settings) as running:
        yield running


def whole(collector: Collector, trace: str, *names: str) -> dict[str, Seen]:
    """The spans of this trace by name, once all expected ones have arrived: each process sends its own."""
    soon(lambda: {span.name for span in collector.of(trace)} >= set(names))
    return {span.name: span for span in collector.of(trace)}


def test_one_trace_spans_the_clients_request_and_the_callback(seen: Watched, collector: Collector) -> None:
    trace, client = secrets.token_hex(16), secrets.token_hex(8)
    job = seen.submit(traceparent=f"00-{trace}-{client}-01").json()
    spans = whole(collector, trace, "POST /v1/jobs", "queue", "analyze", "deliver", *FAKE_STAGES)
    request, queue, analyze, deliver = (spans[name] for name in ("POST /v1/jobs", "queue", "analyze", "deliver"))
    assert {one.service for one in spans.values()} == {"vultus-gateway", "vultus-worker", "vultus-courier"}
    assert request.parent == client
    assert {queue.parent, analyze.parent, deliver.parent} == {request.id}
    stages = [span for span in spans.values() if span.parent == analyze.id]
    assert {span.name for span in stages} == FAKE_STAGES
    assert all(analyze.begin <= span.begin <= span.end <= analyze.end for span in stages)
    assert request.begin <= queue.begin <= queue.end <= deliver.begin
    assert analyze.attributes["vultus.job.id"] == queue.attributes["vultus.job.id"] == job["id"]
    assert analyze.attributes["vultus.job.attempt"] == 1
    assert (request.attributes["http.route"], request.attributes["http.response.status_code"]) == ("/v1/jobs", 202)
    assert (deliver.attributes["server.address"], deliver.attributes["http.response.status_code"]) == ("127.0.0.1", 204)
    (callback,) = [request for request in seen.partner.wait() if job["id"].removeprefix("job_") in request.id]
    assert callback.headers["traceparent"] == f"00-{trace}-{deliver.id}-01"


@pytest.mark.parametrize(("path", "failed"), [("/face.png", None), ("/missing.png", "image_unreachable")])
def test_an_image_download_is_part_of_its_jobs_trace(
    seen: Watched, collector: Collector, web: Hostile, path: str, failed: str | None
) -> None:
    trace, request_id = secrets.token_hex(16), f"case-{secrets.token_hex(4)}"
    job = requests.post(
        f"{seen.stack.url}/v1/jobs",
        json={"operation": "detect", "image": {"url": web.url(path)}},
        headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "X-Request-ID": request_id},
        timeout=20,
    ).json()
    spans = whole(collector, trace, "POST /v1/jobs", "fetch")
    assert spans["fetch"].parent == spans["POST /v1/jobs"].id
    assert (spans["fetch"].attributes["vultus.job.id"], spans["fetch"].failed) == (job["id"], failed)
    (line,) = [one for one in seen.lines("gateway") if one["event"] in {"fetch.supplied", "fetch.refused"}][-1:]
    assert (line["request_id"], line["trace_id"], line["job_id"]) == (request_id, trace, job["id"])


def test_a_missing_or_invalid_trace_header_starts_a_new_trace(seen: Watched, collector: Collector) -> None:
    before = len(collector.spans)
    for header in ({}, {"traceparent": "00-not-a-trace"}):
        requests.get(f"{seen.stack.url}/v1/jobs", headers=header, timeout=10)
    listed = soon(lambda: [s for s in [*collector.spans][before:] if s.name == "GET /v1/jobs"][1:])
    assert listed[0].parent == ""


def test_an_unsampled_client_is_not_traced_but_is_in_the_log(seen: Watched, collector: Collector) -> None:
    trace = secrets.token_hex(16)
    job = seen.submit(traceparent=f"00-{trace}-{secrets.token_hex(8)}-00").json()
    soon(lambda: [line for line in seen.lines("courier") if line.get("job_id") == job["id"]])
    assert collector.of(trace) == []
    assert {line["trace_id"] for line in seen.lines() if line.get("job_id") == job["id"]} == {trace}


def test_a_failed_job_fails_its_span_with_its_code(seen: Watched, collector: Collector) -> None:
    trace = secrets.token_hex(16)
    answer = requests.post(
        f"{seen.stack.url}/v1/jobs",
        data={"operation": "analyze", "params": json.dumps({"attributes": ["landmarks_106"]})},
        files={"image": ("photo.png", PHOTO, "image/png")},
        headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "Prefer": "wait=10"},
        timeout=20,
    )
    assert answer.json()["status"] == "failed", answer.text
    spans = whole(collector, trace, "POST /v1/jobs", "analyze")
    assert spans["analyze"].failed == answer.json()["error"]["code"]
    assert spans["POST /v1/jobs"].failed is None


def test_health_checks_create_no_spans(seen: Watched, collector: Collector) -> None:
    for path in ("/livez", "/readyz", "/health"):
        requests.get(seen.stack.url + path, timeout=10)
    seen.submit().json()
    assert not [
        span.name for span in collector.spans if span.name.removeprefix("GET ") in {"/livez", "/readyz", "/health"}
    ]


def test_every_log_line_is_json_and_correlates_from_submit_to_callback(seen: Watched) -> None:
    request_id, trace = f"case-{secrets.token_hex(4)}", secrets.token_hex(16)
    job = seen.submit(**{"X-Request-ID": request_id, "traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}).json()
    soon(lambda: [one for one in seen.lines("courier") if one.get("job_id") == job["id"]])
    about = [one for one in seen.lines() if request_id in json.dumps(one) or job["id"] in json.dumps(one)]
    assert {"job.submitted", "request", "job.succeeded", "delivery.delivered"} <= {one["event"] for one in about}
    assert {(one["request_id"], one["trace_id"]) for one in about} == {(request_id, trace)}
    assert {one.get("job_id", job["id"]) for one in about} == {job["id"]}
    for one in seen.lines():
        assert {"event", "level", "timestamp"} <= set(one)


def test_a_batch_has_one_trace_with_all_its_jobs(seen: Watched, collector: Collector) -> None:
    trace, request_id = secrets.token_hex(16), f"case-{secrets.token_hex(4)}"
    answer = requests.post(
        f"{seen.stack.url}/v1/batches",
        data={"operation": "detect", "webhook": json.dumps({"url": seen.partner.url(), "events": ["batch.completed"]})},
        files=[("images", ("a.png", PHOTO, "image/png"))] * 2,
        headers={"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", "X-Request-ID": request_id},
        timeout=20,
    )
    assert answer.status_code in {200, 202}, answer.text  # 200 if the worker was faster than the response
    batch = answer.json()["id"]
    soon(lambda: [span for span in collector.of(trace) if span.name == "deliver"])
    soon(lambda: len([span for span in collector.of(trace) if span.name == "analyze"]) == 2)
    (entry,) = [one for one in seen.lines("courier") if one.get("batch_id") == batch]
    assert (entry["event"], entry["request_id"], entry["trace_id"]) == ("delivery.delivered", request_id, trace)


def test_no_log_line_or_span_holds_an_image_an_embedding_or_a_secret(seen: Watched, collector: Collector) -> None:
    job = requests.post(
        f"{seen.stack.url}/v1/jobs",
        data={"operation": "embed"},
        files={"image": PHOTO},
        headers={"Prefer": "wait=10"},
        timeout=20,
    ).json()
    embedding = str(job["result"]["faces"][0]["embedding"]["vector"][0])
    text = "\n".join(line for _, line in seen.output) + repr(collector.spans)
    secret = seen.stack.environment["VULTUS_WEBHOOK_SECRETS"]
    for forbidden in (embedding, secret, secret.removeprefix("whsec_"), seen.stack.ledger.password, seen.partner.url()):
        assert forbidden not in text


def test_an_unreachable_collector_costs_nothing_but_its_spans(seen: Watched, collector: Collector) -> None:
    collector.close()
    job = seen.submit().json()
    url = f"{seen.stack.url}/v1/jobs/{job['id']}?wait=10"
    assert requests.get(url, timeout=20).json()["status"] == "succeeded"
    seen.stack.gateway.stop()
    assert seen.stack.gateway.exit_code() == 0
