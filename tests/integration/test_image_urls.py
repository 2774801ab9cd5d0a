"""Images by URL: a real gateway and a real store, a hostile web server, and the test as the worker."""

import json
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from shared.ledger import keys
from shared.ledger.jobs.store import Outcome
from tests.integration.fetching_site import FETCH_TIME, RESULT, SECRET, Site, leave, opened, until
from tests.integration.hostile import FACE, Hostile
from tools.ports import LOOPBACK


@pytest.fixture(scope="module")
def hostile() -> Iterator[Hostile]:
    server = Hostile()
    yield server
    server.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, hostile: Hostile) -> Iterator[Site]:
    """A gateway that may fetch from this machine, over plain HTTP."""
    yield from opened(tmp_path_factory.mktemp("site"), leave(hostile))


@pytest.fixture(autouse=True)
def _nothing_stays(request: pytest.FixtureRequest) -> Iterator[None]:
    """No image and no URL is left once a test's jobs have finished."""
    yield
    if "site" in request.fixturenames:
        site: Site = request.getfixturevalue("site")
        for key in site.kept():
            assert site.ledger.delete(key.rsplit(":", 1)[1])
        assert site.stores.fetches.waiting() == 0
        assert site.ledger.depth() == (0, 0)


# --- a valid image -----------------------------------------------------------------------------------------------


def test_a_fetched_image_reaches_the_worker_unchanged_without_its_url(site: Site, hostile: Hostile) -> None:
    url = hostile.url("/face.png") + SECRET
    job_id = site.accepted(url)
    claim = site.claim()
    assert (claim.job.id, claim.image, claim.reference) == (job_id, FACE, None)
    assert not site.holds("secret-of-the-url")  # the image has arrived: its URL is no longer needed
    shown = site.read(job_id)
    assert (shown["image_origin"], shown["reference_origin"]) == (f"http://{LOOPBACK}:{hostile.port}", None)
    assert "secret" not in json.dumps(shown)
    assert site.ledger.finish(job_id, claim.token, Outcome(result=RESULT))
    assert site.kept() == set()
    assert ("/face.png", f"{LOOPBACK}:{hostile.port}") in hostile.requests


def test_the_accepting_gateway_starts_its_fetch_at_once(site: Site, hostile: Hostile) -> None:
    time.sleep(1.2)  # its fetcher has checked the empty queue, and would check again in a second
    began = time.monotonic()
    site.accepted(hostile.url("/face.png"))
    claim = site.claim()
    assert time.monotonic() - began < 0.7
    site.ledger.finish(claim.job.id, claim.token, Outcome(result=RESULT))


def test_image_and_reference_may_both_come_by_url(site: Site, hostile: Hostile) -> None:
    face = hostile.url("/face.png")
    site.accepted(face, operation="verify", reference={"url": face})
    claim = site.claim()
    assert (claim.image, claim.reference) == (FACE, FACE)
    site.ledger.finish(claim.job.id, claim.token, Outcome(result=RESULT))
    done = site.ended(face, operation="verify", reference={"url": hostile.url("/page.png")})
    assert done["error"]["code"] == "unsupported_image_type"
    assert done["error"]["detail"].startswith("The reference: ")


def test_an_uploaded_image_waits_for_the_reference_that_is_fetched(site: Site, hostile: Hostile) -> None:
    answer = requests.post(
        f"{site.stack.url}/v1/jobs",
        data={"operation": "verify", "reference": json.dumps({"url": hostile.url("/face.png")})},
        files={"image": FACE},
        timeout=30,
    )
    assert answer.status_code == 202, answer.text
    claim = site.claim()
    assert (claim.image, claim.reference) == (FACE, FACE)
    site.ledger.finish(claim.job.id, claim.token, Outcome(result=RESULT))


# --- other images --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "code", "retryable"),
    [
        ("/page.png", "unsupported_image_type", False),
        ("/cut.png", "invalid_image", False),
        ("/empty.png", "empty_image", False),
        ("/lies-short.png", "invalid_image", False),
        ("/lies-long.png", "image_unreachable", True),
        ("/missing.png", "image_unreachable", False),
        ("/busy.png", "image_unreachable", True),
        ("/redirect.png", "image_unreachable", False),
        ("/gzip.png", "image_unreachable", False),
        ("/declares-much.png", "image_too_large", False),
        ("/endless.png", "image_too_large", False),
        ("/drip.png", "image_unreachable", True),
        ("/drip-head.png", "image_unreachable", True),
        ("/informs.png", "image_unreachable", True),
        ("/flood-informs.png", "image_unreachable", True),
        ("/pieces.png", "image_unreachable", False),
        ("/extension.png", "image_unreachable", True),
        ("/silent.png", "image_unreachable", True),
        ("/garbage.png", "image_unreachable", True),
        ("/reset.png", "image_unreachable", True),
    ],
)
def test_a_hostile_response_fails_the_job_in_time_and_with_a_reason(
    site: Site, hostile: Hostile, path: str, code: str, *, retryable: bool
) -> None:
    began = time.monotonic()
    sent = hostile.sent
    job = site.ended(hostile.url(path) + SECRET)
    assert time.monotonic() - began < FETCH_TIME + 1
    assert (job["status"], job["error"]["code"], job["error"]["retryable"]) == ("failed", code, retryable)
    assert "secret" not in json.dumps(job)
    assert hostile.sent - sent < 64 * 2**20  # what the system's buffers took beyond the 5 MiB that were read
    assert ("/face.png" in [path for path, _ in hostile.requests[-1:]]) is False  # the target of the redirect
    assert site.holds("secret-of-the-url") is retryable  # only a job that may be retried needs its URL, for an hour
    if retryable:
        with site.stack.ledger.client() as client:
            assert 3000 < client.ttl(keys.urls(0, job["id"])) <= 3600
        site.ledger.delete(job["id"])
        assert not site.holds("secret-of-the-url")


def test_a_failed_fetch_is_retried_from_the_same_url(site: Site, hostile: Hostile) -> None:
    failed = site.ended(hostile.url("/busy.png"))
    before = len(hostile.requests)
    answer = requests.post(site.stack.url + failed["urls"]["retry"], timeout=10)
    assert answer.status_code == 202
    again = answer.json()
    until(partial(site.has_failed, again["id"]))
    assert hostile.requests[before:] == [("/busy.png", f"{LOOPBACK}:{hostile.port}")]
    assert (again["retry_of"], again["image_origin"]) == (failed["id"], failed["image_origin"])
    for job_id in (failed["id"], again["id"]):
        site.ledger.delete(job_id)


def test_one_slow_host_does_not_hold_up_the_others(tmp_path: Path, hostile: Hostile) -> None:
    other = Hostile("127.0.0.2")
    settings = {**leave(hostile, other), "VULTUS_IMAGE_URL_PARALLEL": "2", "VULTUS_IMAGE_URL_TIMEOUT": "30"}
    before = len(hostile.requests)
    for site in opened(tmp_path, settings):
        slow = [site.accepted(hostile.url("/silent.png")) for _ in range(6)]
        until(partial(hostile.was_requested, before + 1))
        site.accepted(other.url("/face.png"))
        claim = site.claim(within=10)  # the slow host still holds its slot, for 20 s
        assert claim.image == FACE
        assert {site.read(job_id)["status"] for job_id in slow} == {"queued"}
    other.close()


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_a_job_that_ends_during_its_fetch_leaves_nothing(site: Site, hostile: Hostile, end: str) -> None:
    hostile.gate.clear()
    before = len(hostile.requests)
    job_id = site.accepted(hostile.url("/gate.png") + SECRET)
    until(partial(hostile.was_requested, before + 1))
    if end == "cancel":
        assert requests.post(f"{site.stack.url}/v1/jobs/{job_id}/cancel", timeout=10).json()["status"] == "canceled"
    else:
        assert requests.delete(f"{site.stack.url}/v1/jobs/{job_id}", timeout=10).status_code == 204
    assert site.kept() == set()
    hostile.gate.set()
    time.sleep(0.5)  # the rest of the image arrives and is dropped
    assert site.kept() == set()
    assert not site.holds("secret-of-the-url")
    assert site.ledger.claim("the-test") is None
    if end == "cancel":
        assert site.read(job_id)["status"] == "canceled"
    else:
        assert site.ledger.read(job_id) is None


def test_a_deadline_counts_during_the_fetch(site: Site, hostile: Hostile) -> None:
    answer = requests.post(
        f"{site.stack.url}/v1/jobs",
        json={"operation": "detect", "image": {"url": hostile.url("/silent.png")}},
        headers={"Cancel-After": "200ms", "Prefer": "wait=10"},
        timeout=30,
    )
    assert answer.json()["status"] == "expired"


@pytest.mark.parametrize(
    "url",
    [
        *("http://127.1:{port}/face.png", "http://2130706433:{port}/face.png", "http://0x7f.1:{port}/face.png"),
        *("http://localhost:{port}/face.png", "http://[::ffff:127.0.0.1]:{port}/face.png", "http://127.0.0.1/face.png"),
        *("http://user@127.0.0.1:{port}/face.png", "https://127.0.0.1:1/face.png", "ftp://127.0.0.1:{port}/face.png"),
    ],
)
def test_a_refused_url_is_rejected_before_anything_is_accepted(site: Site, hostile: Hostile, url: str) -> None:
    before = hostile.connections
    answer = site.submit(url.format(port=hostile.port))
    assert (answer.status_code, answer.json()["code"]) == (422, "image_url_refused")
    assert [each["field"] for each in answer.json()["errors"]] == ["image.url"]
    assert hostile.connections == before


def test_a_batch_of_urls_succeeds_and_fails_item_by_item(site: Site, hostile: Hostile) -> None:
    paths = ["/face.png", "/missing.png", "/face.png", "/page.png"]
    urls = [*map(hostile.url, paths), "http://elsewhere.example/1.png"]
    answer = requests.post(
        f"{site.stack.url}/v1/batches",
        json={"operation": "detect", "items": [{"image": {"url": url}} for url in urls]},
        timeout=30,
    )
    assert answer.status_code in {200, 202}, answer.text  # 200 if the worker was faster than the response
    batch = answer.json()
    for _ in range(2):
        claim = site.claim()
        assert claim.image == FACE
        site.ledger.finish(claim.job.id, claim.token, Outcome(result=RESULT))
    done = requests.get(f"{site.stack.url}{batch['urls']['self']}?wait=10", timeout=30).json()
    assert done["status"] == "completed"
    jobs = requests.get(site.stack.url + batch["urls"]["jobs"], timeout=30).json()["jobs"]
    found = [(entry.get("job") or entry)["error"] for entry in jobs]
    codes = [error["code"] if error else None for error in found]
    assert codes == [None, "image_unreachable", None, "unsupported_image_type", "image_url_refused"]


# --- the whole service ---------------------------------------------------------------------------------------------


def test_a_job_by_url_ends_in_a_result(tmp_path: Path, hostile: Hostile) -> None:
    for site in opened(tmp_path, leave(hostile), workers=1):
        site.stack.wait_ready(60)
        job = site.ended(hostile.url("/face.png"))
        assert (job["status"], len(job["result"]["faces"])) == ("succeeded", 1)
        assert site.kept() == set()
