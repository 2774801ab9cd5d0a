"""Submits jobs through a generated client, as a form and as JSON, and prints how each finished."""

import base64
import io
import json
import os
import sys

from vultus_client import Client, models  # type: ignore[import-not-found]
from vultus_client.api.batches import submit_batch  # type: ignore[import-not-found]
from vultus_client.api.classic import compare, detect  # type: ignore[import-not-found]
from vultus_client.api.jobs import submit_job  # type: ignore[import-not-found]
from vultus_client.types import File  # type: ignore[import-not-found]

IMAGE = os.environ["IMAGE"]
WAIT = "wait=20"
client = Client(base_url=os.environ["SERVICE"])


def photo() -> File:
    """The image, as a file of a form."""
    return File(payload=io.BytesIO(base64.b64decode(IMAGE)), file_name="photo.jpg", mime_type="image/jpeg")


source = models.ImageSource(base64=IMAGE, url=None)
form = models.JobForm(operation=models.Operation.DETECT, image=photo(), params='{"max_faces": 1}')
as_form = submit_job.sync(client=client, body=form, prefer=WAIT)
as_json = submit_job.sync(
    client=client,
    prefer=WAIT,
    body=models.JobSubmission(
        operation=models.Operation.VERIFY,
        image=source,
        reference=models.ReferenceSource(base64=IMAGE),
        params=models.VerifyParams(fmr=None, threshold=0.4),
        metadata=None,
    ),
)
album = models.BatchForm(images=[photo(), photo()], operation=models.Operation.DETECT)
items = models.BatchSubmission(operation=models.Operation.DETECT, items=[models.BatchItem(image=source)])
batches = [submit_batch.sync(client=client, body=body, prefer=WAIT) for body in (album, items)]
detected = detect.sync(client=client, body=models.ImageForm(file=photo()))
wrong = compare.sync(client=client, body=models.CompareRequest(embedding1=[1.0, 0.0], embedding2=[1.0]))
box = as_form.result.faces[0].box
json.dump(
    {
        "form": as_form.status,
        "json": as_json.status,
        "batches": [[batch.status, batch.total] for batch in batches],
        "width": box[2] - box[0],
        "faces": detected.num_faces,
        "problem": wrong.code,
    },
    sys.stdout,
)
