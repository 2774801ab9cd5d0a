"""The storms' kills inside single steps, and their changes of a ledger's clock, work as described."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from shared.jobs import Claim, Status
from shared.ledger import keys
from shared.ledger.connection import connect, is_cluster
from shared.ledger.jobs.store import Ledger, Outcome
from tests.chaos.mines import STEPS, WHEN, mine
from tests.chaos.oracle import Account, audit
from tests.chaos.store_clock import TIMES, set_clock
from tests.chaos.stores import endless, holding, snapshot
from tests.integration import test_store_clock
from tests.integration.servers import Server
from tests.integration.test_chaos_stores import submit
from tests.integration.test_ledger import accept

PROBE = """
import sys
from pathlib import Path
from tests.chaos import mines
walk = mines.mined(Path(sys.argv[1]), "retry", lambda: print("done", flush=True))
walk()
print("alive")
"""


@pytest.mark.parametrize(("when", "said"), [("before", ""), ("after", "done\n")])
def test_a_process_dies_at_the_step_that_a_file_names(tmp_path: Path, when: str, said: str) -> None:
    file = mine(tmp_path, "retry", when)
    file.touch()
    walks = [
        subprocess.run([sys.executable, "-c", PROBE, tmp_path], capture_output=True, text=True, check=False)
        for _ in range(2)
    ]
    assert [walk.returncode for walk in walks] == [-signal.SIGKILL, 0]
    assert [walk.stdout for walk in walks] == [said, "done\nalive\n"]
    assert not file.exists()


@pytest.mark.parametrize("step", STEPS)
def test_every_step_with_a_mine_exists(step: str) -> None:
    owner, name = STEPS[step]
    assert callable(getattr(owner, name))
    assert WHEN == ("before", "after")


def test_the_clock_of_a_ledger_can_be_set_while_it_works(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    with connect(ledger_server.url) as client:
        if is_cluster(client):
            pytest.skip("a storm has a ledger of one server, and so has this way to set its clock")
        before = client.zscore(keys.queue(0), job_id), float(client.hget(keys.job(0, job_id), "created_at") or 0)
        set_clock(client, by=-3600)
        after = client.zscore(keys.queue(0), job_id), float(client.hget(keys.job(0, job_id), "created_at") or 0)
    assert after == pytest.approx((before[0] + 3600, before[1] + 3600), abs=0.01)
    claim = ledger.claim("w")
    assert claim is not None
    assert claim.job.status is Status.RUNNING


def finish_all(ledger: Ledger) -> None:
    while (claim := ledger.claim("w")) is not None:
        assert ledger.finish(claim.job.id, claim.token, Outcome(result={}))


def test_clock_jumps_during_work_leave_nothing_for_the_oracle(
    ledger: Ledger, ledger_server: Server, broker_server: Server
) -> None:
    with connect(ledger_server.url) as client, connect(broker_server.url) as broker:
        if is_cluster(client):
            pytest.skip("a storm has a ledger of one server")
        accounts: list[Account] = []
        early: list[Claim] = []
        for by in (-1200.0, 1200.0, 600.0):  # after an hour forward the index forgets what the server keeps
            accounts += [submit(ledger, f"key-{len(accounts) + number}") for number in range(4)]
            early += [claim] if (claim := ledger.claim("early")) else []
            set_clock(client, by=by)
            ledger.reap(max_attempts=9)
            finish_all(ledger)
        set_clock(client, by=300)  # everything that the early worker still held is expired
        ledger.reap(max_attempts=9)
        finish_all(ledger)
        assert len(early) == 3
        assert not any(ledger.finish(claim.job.id, claim.token, Outcome(result={})) for claim in early)
        found = snapshot(client, broker, shards=1, keys_lead_to={})
        assert audit(accounts, [], found, max_attempts=9) == []
        assert len(found.records) == len(accounts)
        assert endless(client) == []


def test_both_ways_to_set_a_clock_shift_the_same_fields() -> None:
    assert set(TIMES) == set(test_store_clock.TIMES)


def test_keys_that_contain_a_text_are_found_by_name_and_by_value(ledger: Ledger, ledger_server: Server) -> None:
    job_id = accept(ledger)
    with connect(ledger_server.url) as client:
        client.xadd("log", {"who": job_id})
        assert {"log", keys.job(0, job_id), keys.queue(0), keys.image(0, job_id)} <= set(holding(client, job_id))
        assert holding(client, "nowhere") == []
