"""Gateways that are killed inside one step of their work, and the promises for that step."""

import itertools
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final

import redis
import requests

from shared.errors import RequestError
from shared.jobs import NewJob, Status, new_job_id
from shared.ledger.admission import Limits
from shared.ledger.jobs.store import Ledger
from shared.ledger.stores import Stores, open_stores
from shared.operations import Operation
from shared.tenants import DEFAULT, Grant, Tenant, read_key
from tests.chaos.blows import Blow, Course
from tests.chaos.ground import LEASE, Ground
from tests.chaos.image_host import FAILS_ONCE
from tests.chaos.load import batch, repeat
from tests.chaos.marks import QUICK
from tests.chaos.mines import WHEN, mine
from tests.chaos.oracle import Account
from tests.chaos.stores import holding
from tests.integration.cards import Card

PATIENCE: Final = 30.0
"""Seconds until another gateway must have completed an interrupted step."""
SHORT: Final = 3.0
"""Seconds for which a batch is sent again: a gateway that died holds its key for longer."""
ITEMS: Final = 8
OWNED: Final = 12
"""Jobs of a tenant that is erased."""
OWN_LOG: Final = f"vultus:{{auth}}:audit:{DEFAULT}"
"""Records who erased which tenant, and is kept."""
EXPECTED: Final = {200, 201, 202, 204, 404, 409, 503}

Lay = Callable[[], None]
Act = Callable[[Lay], None]


class Moments:
    """Injects these faults and records what it requested, as every client does."""

    def __init__(self, ground: Ground, *, seed: int) -> None:
        self.accounts: list[Account] = []
        self.failed: list[BaseException] = []
        self.unexpected: list[str] = []
        self.broken: list[str] = []
        """Broken promises."""
        self.gone: set[str] = set()
        """Sessions and jobs that were erased; whether their completions are sent depends on timing."""
        self.threads: list[threading.Thread] = []
        self._ground = ground
        self._random = random.Random(f"{seed} moments")  # noqa: S311 - a repeatable schedule, not a secret
        self._numbers = itertools.count()
        self._urls = itertools.cycle(ground.urls)
        self.menu: dict[str, tuple[int, Callable[[Blow], Course]]] = {
            "gateway killed in a URL fetch": (0, lambda _: self._killed_in("fetch", self._fetch)),
            "gateway killed in a batch": (0, lambda _: self._killed_in("batch", self._batch)),
            "gateway killed in a retry": (0, lambda _: self._killed_in("retry", self._retry)),
            "gateway killed in a session frame": (0, lambda _: self._killed_in("frame", self._frame)),
            "gateway killed in a tenant's erasure": (0, lambda _: self._killed_in("erasure", self._erasure)),
            "gateway killed in a key rotation": (0, lambda _: self._killed_in("rotation", self._rotation)),
        }

    def _killed_in(self, step: str, act: Act) -> Course:
        """Kill the first gateway that reaches this step after the act has laid the mine, before or after the step."""
        file = mine(self._ground.mines, step, self._random.choice(WHEN))
        thread = threading.Thread(target=self._guarded, args=(act, file.touch), name=step)
        self.threads.append(thread)
        thread.start()
        try:
            while thread.is_alive():
                for gateway in self._ground.gateways:
                    gateway.failures = 0
                yield
        finally:
            if file.exists():
                file.unlink(missing_ok=True)
                self.broken.append(f"moment: no gateway came to {file.name}, so none was killed there")

    def _guarded(self, act: Act, lay: Lay) -> None:
        try:
            act(lay)
        except BaseException as error:  # noqa: BLE001 - reported with the findings
            self.failed.append(error)

    def _account(self, **known: Any) -> Account:
        account = Account(f"moment-{next(self._numbers)}", **known)
        self.accounts.append(account)
        return account

    def _call(self, method: str, path: str, **more: Any) -> tuple[int, dict[str, Any]]:
        """Status and body of the response of either gateway, alternating; 0 if there was none."""
        try:
            answer = requests.request(method, next(self._urls) + path, timeout=15, **more)
        except requests.RequestException:
            return 0, {}
        if answer.status_code not in EXPECTED:
            self.unexpected.append(f"{method} {path} was answered {answer.status_code}: {answer.text[:200]}")
        return answer.status_code, answer.json() if answer.ok and answer.content else {}

    def _done(self, method: str, path: str, *, codes: set[int], **more: Any) -> Mapping[str, Any]:
        """Repeat the call until it is answered with one of these statuses; return the body."""
        body: dict[str, Any] = {}

        def ask() -> bool:
            status, answer = self._call(method, path, **more)
            body.update(answer)
            return status in codes

        if not repeat(ask, within=PATIENCE):
            self.broken.append(f"unanswered: {method} {path} within {PATIENCE:g} s")
        return body

    def _submit_url(self, path: str, lay: Lay | None = None) -> tuple[Account, str | None]:
        account = self._account()
        body = {
            "operation": "detect",
            "image": {"url": f"http://{self._ground.images.address}{path}{account.key}"},
            "metadata": {"key": account.key},
        }
        if lay:
            lay()
        more = {"json": body, "headers": {"Idempotency-Key": account.key}}

        def submit() -> bool:
            account.ids |= {str(found["id"])} if "id" in (found := self._call("POST", "/v1/jobs", **more)[1]) else set()
            return bool(account.ids)

        repeat(submit, within=PATIENCE)
        return account, next(iter(account.ids), None)

    def _status(self, job_id: str) -> Status | None:
        status = self._call("GET", f"/v1/jobs/{job_id}")[1].get("status")
        return None if status is None else Status(status)

    def _ends(self, job_id: str, within: float = PATIENCE) -> bool:
        return repeat(lambda: (status := self._status(job_id)) is not None and status.is_terminal, within=within)

    def _fetch(self, lay: Lay) -> None:
        """The image has been downloaded; another gateway must fetch it again once the hold is over."""
        _, job_id = self._submit_url("/", lay)
        if job_id is not None:
            self._ends(job_id)

    def _retry(self, lay: Lay) -> None:
        """Repeat until it is answered; the oracle counts the outcome."""
        account, job_id = self._submit_url(FAILS_ONCE)
        if job_id is None or not self._ends(job_id):
            return
        lay()

        def again() -> bool:
            status, job = self._call("POST", f"/v1/jobs/{job_id}/retry")
            account.retries |= {str(job["id"])} if "id" in job else set()
            return status in {200, 202, 404, 409}

        repeat(again, within=PATIENCE)

    def _batch(self, lay: Lay) -> None:
        """Either its images are stored and its jobs are not, or all of it is stored and no client was told."""
        account = self._account(items=ITEMS)
        more = batch(random.Random(account.key), account)  # noqa: S311 - not a secret
        lay()

        def submit() -> bool:
            found = self._call("POST", account.path, **more)[1]
            account.ids |= {str(found["id"])} if "id" in found else set()
            return bool(account.ids)

        repeat(submit, within=SHORT)

    def _frame(self, lay: Lay) -> None:
        """The session is erased then: nothing of it or of its frame may remain."""
        request = {"movements": 1, "kinds": ["turn_left"]}
        session = self._done("POST", "/v1/liveness-sessions", codes={201}, json=request)
        if "id" not in session:
            return
        session_id = str(session["id"])
        self.gone.add(session_id)
        more = {
            "files": {"image": Card().jpeg()},
            "data": {"sequence": "1", "taken_at": "1000"},
            "headers": {"Session-Token": session["client_token"]},
        }
        path = f"/v1/liveness-sessions/{session_id}"
        lay()
        self._done("POST", f"{path}/frames", codes={200, 202, 409}, **more)
        self._done("DELETE", path, codes={204, 404})
        with self._stores() as (store, _):
            kinds = (":job:", ":session:", ":image:")
            left = [name for name in holding(store, session_id) if any(kind in name for kind in kinds)]
        self.broken += [f"frame: {name} is left of a session that was erased" for name in left]

    def _erasure(self, lay: Lay) -> None:
        """A repeated call erases the rest, and nothing granted before is accepted afterwards."""
        tenant = f"erased-{next(self._numbers)}"
        with self._stores() as (store, stores):
            made = stores.tenants.create(Tenant(tenant))
            grant = Grant(since=made.created_at if made else 0.0)
            for number in range(OWNED):
                self._accept(stores.jobs, grant, tenant=tenant, shard=number % self._ground.shards)
            lay()

            def erase() -> bool:
                status, answer = self._call("POST", f"/v1/admin/tenants/{tenant}/erase")
                return status == requests.codes.not_found or bool(answer.get("nothing_left"))

            if not repeat(erase, within=2 * PATIENCE):
                self.broken.append(f"erased: {tenant} was not erased within {2 * PATIENCE:g} s")
            self._must_refuse(partial(self._accept, stores.jobs, grant, tenant=tenant, shard=0), whom=tenant)
            left = [name for name in holding(store, tenant) if name != OWN_LOG]
        self.broken += [f"erased: {name} is left of {tenant}" for name in left]

    def _rotation(self, lay: Lay) -> None:
        """Once it is answered, the old key no longer works, and nothing is accepted with it after it is revoked."""
        name = f"rotated-{next(self._numbers)}"
        request = {"tenant": DEFAULT, "scopes": ["jobs:write"], "name": name}
        old = self._done("POST", "/v1/admin/keys", codes={201}, json=request)
        parts = read_key(str(old.get("key")))
        if parts is None:
            return
        lay()
        path = f"/v1/admin/keys/{parts[0]}"
        self._done("POST", f"{path}/rotate", codes={201}, json={"overlap_seconds": 0})
        with self._stores() as (store, stores):
            found = stores.api_keys.find(parts[0])
            seconds, _ = store.time()
            if found is not None and found[0].valid(parts[1], now=float(seconds + 1)):
                self.broken.append(f"key: {parts[0]} opens after it was rotated")
            followers = [key for key in stores.api_keys.of(DEFAULT) if key.name == name and key.expires_at is None]
            if not followers:
                self.broken.append(f"key: nothing follows {parts[0]}")
            for key in stores.api_keys.of(DEFAULT):
                if key.name == name:
                    self._done("DELETE", f"/v1/admin/keys/{key.id}", codes={204, 404})
            grant = Grant(key=parts[0], since=0.0)
            self._must_refuse(partial(self._accept, stores.jobs, grant, tenant=DEFAULT, shard=0), whom=parts[0])

    def _must_refuse(self, accept: Callable[[], str], *, whom: str) -> None:
        try:
            job_id = accept()
        except RequestError:
            return
        self.broken.append(f"fence: {job_id} of {whom} was accepted")

    def _accept(self, ledger: Ledger, grant: Grant, *, tenant: str, shard: int) -> str:
        """Write a job that was authorized earlier, as a gateway does."""
        job = NewJob(
            id=new_job_id(shard=shard, now_ms=time.time_ns() // 1_000_000),
            operation=Operation.DETECT,
            params={},
            metadata={"key": tenant},
            image=QUICK,
            tenant=tenant,
            result_ttl=timedelta(hours=1),
        )
        self.gone.add(job.id)
        ledger.accept(job, limits=Limits(1000, grant=grant, tenant=tenant))
        return job.id

    @contextmanager
    def _stores(self) -> Iterator[tuple[redis.Redis, Stores]]:
        with self._ground.ledger() as store:
            yield store, open_stores(store, shards=self._ground.shards, lease=timedelta(seconds=LEASE))
