"""Makes a gateway write records of jobs as a newer version might: with a field that this version does not know."""

import json
from typing import Any, Final

from shared.jobs import NewJob
from shared.ledger.jobs import records

FIELD: Final = "colour"


def write() -> None:
    """Start doing so; call it before anything else of the ledger is imported."""
    written = records.new_job_json

    def newer(job: NewJob, **more: Any) -> str:
        record = json.loads(written(job, **more))
        record["fields"][FIELD] = "blue"
        return json.dumps(record)

    records.new_job_json = newer
