"""Composition root of a worker process: connects the store, the engine and the threads, once."""

import os
import secrets
import socket
from dataclasses import dataclass

import structlog

from shared.dispatch import Doorbell, celery_app
from shared.ledger.connection import connect, verify_broker, verify_durability
from shared.ledger.jobs.result_cache import Results
from shared.ledger.jobs.store import Ledger
from shared.ledger.layout import Layout
from shared.ledger.presence import Presence, WorkerInfo
from shared.ledger.sweeper import Sweeper
from shared.observability import tracing
from shared.observability.monitor import Monitor, Readiness
from worker import metrics
from worker.analysis import Analyst
from worker.cache import result_cache
from worker.engine.base import Engine, EngineInfo
from worker.engine.load import load_engine
from worker.execution.cancellation import Cancels
from worker.execution.exclusive_gate import ExclusiveGate
from worker.execution.leases import Heartbeat
from worker.execution.memory import cap
from worker.execution.polling_fallback import PollingFallback
from worker.execution.threads import job_threads
from worker.execution.watchdog import Watchdog, dead_mans_switch
from worker.settings import WorkerSettings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Runtime:
    """The parts of a worker that live as long as the process."""

    analyst: Analyst
    heartbeat: Heartbeat
    sweeper: Sweeper
    doorbell: Doorbell
    exclusive_gate: ExclusiveGate
    watchdog: Watchdog
    cancels: Cancels
    polling_fallback: PollingFallback

    def start(self) -> None:
        """Start the threads, the heartbeat first."""
        self.heartbeat.start()
        self.sweeper.start()
        self.watchdog.start()
        self.cancels.start()
        self.polling_fallback.start()

    def stop(self) -> None:
        """Stop the threads, the heartbeat last, and deregister the worker."""
        self.polling_fallback.stop()
        self.watchdog.stop()
        self.cancels.stop()
        self.sweeper.stop()
        self.heartbeat.stop()
        self.doorbell.close()


@dataclass(frozen=True, slots=True)
class _Stores:
    """What a worker reads and writes in the ledger's server."""

    ledger: Ledger
    presence: Presence
    results: Results


_runtime: list[Runtime] = []
_monitor: list[Monitor] = []


def threads(settings: WorkerSettings) -> int:
    """Return the number of jobs that run concurrently."""
    return job_threads(settings.worker_threads, provider=settings.provider)


def start(settings: WorkerSettings) -> None:
    """Load and warm the models, then report ready; the process takes no jobs before that.

    Raises:
        SettingsError: a setting, the pack or the ledger is not usable; the message is one line that says what to do.
        UnavailableError: the ledger cannot be reached.
    """
    tracing.start("worker")
    _monitor.append(Monitor(settings, ready=readiness).__enter__())  # first, so that it can report the loading models
    stores = _open_stores(settings)
    engine = load_engine(settings)
    cap(settings.worker_memory_mb)
    info = _worker_info(engine.info, settings)
    runtime = _assemble(stores, engine, info, settings)
    metrics.INFO.labels(settings.engine, info.model_pack, info.embedding_contract, info.provider).set(1)
    metrics.THREADS.set(info.threads)
    metrics.BUSY.set_function(lambda: len(runtime.heartbeat.held()))
    runtime.start()
    _runtime.append(runtime)
    log.info("worker.ready", worker=info.worker, pack=info.model_pack, provider=info.provider, threads=info.threads)


def _open_stores(settings: WorkerSettings) -> _Stores:
    client = connect(settings.ledger_url)
    verify_durability(client, settings.durability)
    verify_broker(settings.broker_url)
    Layout(client, shards=settings.shards).settle()
    return _Stores(
        Ledger(client, shards=settings.shards, lease=settings.lease, retry_window=settings.retry_window),
        Presence(client),
        Results(client, shards=settings.shards),
    )


def _worker_info(engine: EngineInfo, settings: WorkerSettings) -> WorkerInfo:
    return WorkerInfo(
        worker=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}",
        model_pack=engine.pack,
        embedding_contract=engine.contract,
        embedding_size=engine.embedding_size,
        provider=engine.provider,
        threads=threads(settings),
        attributes=engine.attributes,
    )


def _assemble(stores: _Stores, engine: Engine, info: WorkerInfo, settings: WorkerSettings) -> Runtime:
    """Connect the parts; nothing is started yet."""
    ledger = stores.ledger
    cancels = Cancels(ledger)
    heartbeat = Heartbeat(ledger, stores.presence, info, ready_file=settings.ready_file, lost=cancels.take)
    doorbell = Doorbell(celery_app(settings.broker_url))
    exclusive_gate = ExclusiveGate()
    watchdog = Watchdog(
        ledger,
        heartbeat,
        exclusive_gate,
        limits=settings.time_limits,
        max_attempts=settings.max_attempts,
        arm=dead_mans_switch,
    )
    analyst = Analyst(
        ledger=ledger,
        engine=engine,
        heartbeat=heartbeat,
        exclusive_gate=exclusive_gate,
        watchdog=watchdog,
        cancels=cancels,
        worker=info.worker,
        max_pixels=settings.max_pixels,
        cache=result_cache(stores.results, engine.info, settings),
        verify_threshold=settings.verify_threshold,
        detection=settings.detection,
    )
    return Runtime(
        analyst=analyst,
        heartbeat=heartbeat,
        sweeper=Sweeper(ledger, doorbell, max_attempts=settings.max_attempts),
        doorbell=doorbell,
        exclusive_gate=exclusive_gate,
        watchdog=watchdog,
        cancels=cancels,
        polling_fallback=PollingFallback(
            waiting=lambda: ledger.depth()[0], busy=lambda: bool(heartbeat.held()), work=analyst.analyze_next
        ),
    )


def current() -> Runtime:
    """Return the runtime of this process."""
    return _runtime[0]


def readiness() -> Readiness:
    """Return whether this process has loaded its models, takes jobs, and reaches the store."""
    if not _runtime:
        return Readiness.LOADING
    if _runtime[0].exclusive_gate.closed:
        return Readiness.DRAINING
    return Readiness.AWAY if _runtime[0].heartbeat.unheard else Readiness.READY


def drain() -> None:
    """Take no new jobs; running ones may finish."""
    for runtime in _runtime:
        runtime.exclusive_gate.close()


def give_up() -> None:
    """Exit although jobs are still running: release their claims, so that they run again elsewhere."""
    log.warning("worker.drain_over", detail="jobs that are still running will run again elsewhere")
    for runtime in _runtime:
        runtime.watchdog.abandon(1)
    os._exit(1)


def stop() -> None:
    """Stop the threads and deregister the worker; its jobs have already finished."""
    while _monitor:
        _monitor.pop().__exit__()
    while _runtime:
        _runtime.pop().stop()
        tracing.stop()
        log.info("worker.stopped")
