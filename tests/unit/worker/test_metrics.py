"""What a worker counts of its stages and of joined runs."""

from prometheus_client import REGISTRY

from worker.metrics import expect_batches, note_batch, note_stages


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_a_jobs_stages_are_seconds_under_their_names() -> None:
    name = "vultus_job_stage_duration_seconds"
    before = value(f"{name}_sum", stage="detect"), value(f"{name}_count", stage="embed")
    note_stages({"detect_ms": 1500.0, "embed_ms": 2.0})
    assert value(f"{name}_sum", stage="detect") == before[0] + 1.5
    assert value(f"{name}_count", stage="embed") == before[1] + 1


def test_rows_by_slots_is_how_full_joined_runs_are() -> None:
    note_batch("of-this-test", rows=3, slots=4)
    note_batch("of-this-test", rows=8, slots=8)
    found = [value(f"vultus_batch_{what}_total", model="of-this-test") for what in ("runs", "rows", "slots")]
    assert found == [2, 11, 12]


def test_a_worker_counts_from_zero() -> None:
    expect_batches("never-run")
    for name, labels in (
        ("vultus_worker_jobs_total", {"operation": "embed", "outcome": "unwritten"}),
        ("vultus_job_queue_duration_seconds_count", {"priority": "low"}),
        ("vultus_job_run_duration_seconds_count", {"operation": "register"}),
        ("vultus_job_stage_duration_seconds_count", {"stage": "attributes"}),
        ("vultus_batch_slots_total", {"model": "never-run"}),
    ):
        assert REGISTRY.get_sample_value(name, labels) is not None
