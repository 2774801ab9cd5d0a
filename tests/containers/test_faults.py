"""Containers are killed, frozen and cut off from the network under load; the oracle of `make chaos` judges the end."""

import os
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest
import redis
import requests

from shared.ledger import keys
from tests.chaos.callbacks import expected, judge, repeats
from tests.chaos.load import PATIENCE, Client
from tests.chaos.oracle import LINES, Snapshot, audit
from tests.chaos.receiver import Receiver
from tests.chaos.stores import endless, images_kept, snapshot, strange
from tests.containers.compose import MAX_ATTEMPTS, ComposeStack, wait_for
from tests.containers.faults import Faults

pytestmark = [pytest.mark.integration, pytest.mark.timeout(3600)]

FAULTS = int(os.environ.get("CONTAINERS_FAULTS", "15"))
SEED = int(os.environ.get("CONTAINERS_SEED", "1"))
CLIENTS = 3
CALM = 120.0
"""Seconds after the last fault until every job must have ended and every webhook must have been sent."""
REPEATED = 20
"""Submissions of each client that are repeated when all is over."""


def test_no_accepted_job_is_lost_or_doubled(stack: ComposeStack) -> None:
    faults, over = Faults(stack, seed=SEED), threading.Event()
    with Receiver("own", secret=stack.secret, seed=SEED, host=stack.this_side("front")) as receiver:
        clients = [
            Client(
                number, [stack.url], seed=SEED, over=over, hooks=[(receiver.name, receiver.url)], headers=stack.headers
            )
            for number in range(CLIENTS)
        ]
        earlier = jobs_of(stack)
        done, begin = Counter[str](), time.monotonic()
        for client in clients:
            client.start()
        try:
            menu = faults.menu()
            for number in range(FAULTS):
                fault = menu[number % len(menu)]
                assert faults.strike(fault), f"no {fault.service} came back"
                done[str(fault)] += 1
        finally:
            over.set()
            for client in clients:
                client.join(2 * PATIENCE + 30)
        calm = time.monotonic()
        assert wait_for(stack.healthy, seconds=CALM), [stack.compose("ps", "--all")]
        at_rest = wait_for(lambda: rests(stack), seconds=CALM)
        calm = time.monotonic() - calm
        findings, jobs, requests_sent = judged(stack, clients, receiver, earlier=earlier)
    report(done, jobs=jobs, webhooks=requests_sent, calm=calm, seconds=time.monotonic() - begin)
    assert findings == []
    assert at_rest
    assert [error for client in clients for error in client.failed] == []
    assert jobs > FAULTS, "the control: a run without load shows nothing"


def rests(stack: ComposeStack) -> bool:
    """Return True if nothing waits, nothing runs, and every webhook was sent."""
    try:
        with stack.store("ledger") as ledger:
            prefix = keys.prefix(0)
            waiting = any(ledger.exists(prefix + line) for line in (*LINES, "outbox", "due"))
            return not waiting and not images_kept(ledger)
    except redis.RedisError:
        return False


def jobs_of(stack: ComposeStack) -> set[str]:
    """Return the ids of all jobs and batches that the ledger holds."""
    with stack.store("ledger") as ledger, stack.store("broker") as broker:
        held = snapshot(ledger, broker, shards=1, keys_lead_to={})
    return {*held.records, *held.groups}


def without(found: Snapshot, earlier: set[str]) -> Snapshot:
    """Leave out the jobs of earlier tests."""
    return replace(
        found,
        records={name: record for name, record in found.records.items() if name not in earlier},
        groups={name: group for name, group in found.groups.items() if name not in earlier},
        index_keys={key: [each for each in ids if each not in earlier] for key, ids in found.index_keys.items()},
    )


def judged(
    stack: ComposeStack, clients: list[Client], receiver: Receiver, *, earlier: set[str]
) -> tuple[list[str], int, int]:
    """Return every broken promise, and how many jobs and webhooks there were."""
    accounts = [account for client in clients for account in client.accounts]
    leads_to: dict[str, str] = {}
    with requests.Session() as session:
        session.headers.update(stack.headers)
        for client in clients:
            for account in [each for each in client.accounts if each.ids and not each.erased][-REPEATED:]:
                answer = client.again(session, account)
                if answer is not None:
                    leads_to[account.key] = answer
    with stack.store("ledger") as ledger, stack.store("broker") as broker:
        found = without(snapshot(ledger, broker, shards=1, keys_lead_to=leads_to), earlier)
        leaks = [*(f"endless: {name}" for name in endless(ledger)), *(f"strange: {name}" for name in strange(broker))]
    hooks = {account.key: account.hook for account in accounts if account.hook}
    erased = frozenset(job_id for each in accounts if each.erased for job_id in {*each.ids, *each.retries})
    findings = [
        *(f"answer: {line}" for client in clients for line in client.unexpected),
        *audit(accounts, [], found, max_attempts=MAX_ATTEMPTS),
        *judge(expected(found, hooks=hooks, endpoints={}), receiver.receipts, erased=erased),
        *leaks,
    ]
    print(f"\n{repeats(receiver.receipts)} webhooks came again after they had been taken", end="")  # noqa: T201
    return findings, len(found.records), len(receiver.receipts)


def report(done: Counter[str], *, jobs: int, webhooks: int, calm: float, seconds: float) -> None:
    """Print the table of this run."""
    lines = [f"{name}: {times}" for name, times in sorted(done.items())]
    lines += [f"{done.total()} faults, {jobs} jobs, {webhooks} webhooks, {seconds:.0f} s, calm after {calm:.0f} s"]
    print("\n" + "\n".join(lines))  # noqa: T201
