"""Makes a gateway write records of jobs as a newer version might: with a field that this version does not know."""

import json
from typing import Any, Final

from shared.jobs import NewJob
from shared.ledger.batches import store as batches
from shared.ledger.jobs import records
from shared.ledger.jobs import store as jobs
from shared.ledger.sessions import store as sessions

FIELD: Final = "colour"


def write() -> None:
    """Start doing so."""
    written = records.new_job_json

    def newer(job: NewJob, **more: Any) -> str:
        record = json.loads(written(job, **more))
        record["fields"][FIELD] = "blue"
        return json.dumps(record)

    for module in (jobs, batches, sessions):
        module.new_job_json = newer  # type: ignore[attr-defined]
