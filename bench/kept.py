"""Measure the memory and listing time of stored jobs: `python -m bench.kept` fills a ledger with finished jobs."""

import argparse
import random
import statistics
import tempfile
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared.errors import ErrorCode
from shared.jobs import JobFailure, NewJob, Provenance, Status, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.connection import connect
from shared.ledger.jobs.listing import JobFilter
from shared.ledger.jobs.store import Ledger, Outcome
from shared.ledger.stores import Stores, open_stores
from shared.operations import Operation
from tests.integration.servers import Server
from tools.stack import Store
from worker.operations.work import DECIMALS

HOUR = timedelta(hours=1)
MADE = Provenance("compact", "vultus-emb-v1-0123456789abcdef", "CPUExecutionProvider", "worker-1-0123")
DAMAGED = JobFailure(ErrorCode.INVALID_IMAGE, "Not an image.")


def result(faces: int, *, embedding: bool) -> dict[str, Any]:
    """Return a result of realistic size."""
    face: dict[str, Any] = {
        "box": [535.3, 128.8, 893.0, 649.6],
        "landmarks": [[628.1, 330.2], [794.0, 329.5], [709.6, 433.8], [640.9, 508.0], [783.4, 507.1]],
        "score": 0.79,
        "quality": {"face_width_px": 357.7, "sharpness": 143.0, "brightness": 118.2},
        "embedding": {"vector": [round(random.gauss(0, 0.044), DECIMALS) for _ in range(512)]} if embedding else None,
    }
    return {"kind": "faces", "image": {"width": 1480, "height": 832}, "faces": [face] * faces}


def fill(ledger: Ledger, jobs: int, *, operation: Operation, outcome: dict[str, Any]) -> None:
    """Accept and complete this many jobs; one in fifty fails."""
    for number in range(jobs):
        job = NewJob(
            id=new_job_id(shard=0, now_ms=time.time_ns() // 1_000_000),
            operation=operation,
            params={"full_size": False, "min_face_px": 0.0, "max_faces": 100, "select": "all"},
            metadata={"case": number},
            image=b"pixels",
            result_ttl=HOUR,
        )
        ledger.accept(job, limits=Limits(1000))
        claim = ledger.claim("w")
        if claim is None:
            msg = "The ledger has no queued job after it accepted one."
            raise RuntimeError(msg)
        failure = DAMAGED if number % 50 == 0 else None
        done = Outcome(
            result=None if failure else outcome, failure=failure, metrics={"total_ms": 60.2}, provenance=MADE
        )
        ledger.finish(job.id, claim.token, done)


def pages(stores: Stores, wanted: JobFilter, *, limit: int, count: int) -> list[float]:
    """Read consecutive pages and return the milliseconds of each."""
    times, after = [], None
    for _ in range(count):
        begin = time.perf_counter()
        page = stores.listing.page(wanted, limit=limit, after=after)
        times.append(1000 * (time.perf_counter() - begin))
        after = page.next
    return times


def main() -> None:
    """Print one line per figure."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--jobs", type=int, default=100_000)
    jobs = options.parse_args().jobs
    with tempfile.TemporaryDirectory(prefix="vultus-kept-") as folder:
        server = Server(Store("kept", Path(folder) / "kept", durable=False))
        server.start()
        client = connect(server.url)
        try:
            stores = open_stores(client, shards=1, lease=timedelta(minutes=1))
            used = client.info("memory")["used_memory"]
            for name, operation, count, outcome in (
                ("detect, one face", Operation.DETECT, jobs * 4 // 5, result(1, embedding=False)),
                ("embed, one face", Operation.EMBED, jobs - jobs * 4 // 5, result(1, embedding=True)),
            ):
                begin = time.perf_counter()
                fill(stores.jobs, count, operation=operation, outcome=outcome)
                seconds = time.perf_counter() - begin
                now = client.info("memory")["used_memory"]
                print(f"{name}: {count} jobs, {(now - used) / count:.0f} bytes each in the ledger, {seconds:.0f} s")
                used = now
            for name, wanted in (
                ("all", JobFilter()),
                ("failed", JobFilter(status=Status.FAILED)),
                ("embed that succeeded", JobFilter(status=Status.SUCCEEDED, operation=Operation.EMBED)),
                ("canceled: none", JobFilter(status=Status.CANCELED)),
            ):
                times = pages(stores, wanted, limit=100, count=20)
                print(f"page of 100, {name}: median {statistics.median(times):.1f} ms, maximum {max(times):.1f} ms")
        finally:
            client.close()
            server.service.stop()


if __name__ == "__main__":
    main()
