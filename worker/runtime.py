"""Composition root of a worker process: builds the store, the engine and the threads around them, once."""

import os
import secrets
import socket
from dataclasses import dataclass

import structlog

from shared.dispatch import Doorbell, celery_app
from shared.ledger.connection import connect, verify_durability
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
    """What lives as long as the process."""

    analyst: Analyst
    heartbeat: Heartbeat
    sweeper: Sweeper
    doorbell: Doorbell
    exclusive_gate: ExclusiveGate
    watchdog: Watchdog
    cancels: Cancels
    polling_fallback: PollingFallback


_runtime: list[Runtime] = []
_monitor: list[Monitor] = []


def threads(settings: WorkerSettings) -> int:
    """Jobs at once."""
    return job_threads(settings.worker_threads, provider=settings.provider)


def start(settings: WorkerSettings) -> None:
    """Load and warm the models, then report ready; only after this does the process take jobs.

    Raises:
        SettingsError: a setting, the pack or the ledger is not as it must be; one line says what to do.
        UnavailableError: the ledger cannot be reached.
    """
    tracing.start("worker")
    _monitor.append(Monitor(settings, ready=readiness).__enter__())  # before the models: it says that they load
    client = connect(settings.ledger_url)
    verify_durability(client, settings.durability)
    Layout(client, shards=settings.shards).settle()
    ledger = Ledger(client, shards=settings.shards, lease=settings.lease, retry_window=settings.retry_window)
    engine = load_engine(settings)
    cap(settings.worker_memory_mb)
    worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
    info = WorkerInfo(
        worker=worker,
        model_pack=engine.info.pack,
        embedding_contract=engine.info.contract,
        embedding_size=engine.info.embedding_size,
        provider=engine.info.provider,
        threads=threads(settings),
        attributes=engine.info.attributes,
    )
    cancels = Cancels(ledger)
    heartbeat = Heartbeat(ledger, Presence(client), info, ready_file=settings.ready_file, lost=cancels.take)
    doorbell = Doorbell(celery_app(settings.broker_url))
    sweeper = Sweeper(ledger, doorbell, max_attempts=settings.max_attempts)
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
        worker=worker,
        max_pixels=settings.max_pixels,
        cache=result_cache(Results(client, shards=settings.shards), engine.info, settings),
        verify_threshold=settings.verify_threshold,
    )
    polling_fallback = PollingFallback(
        waiting=lambda: ledger.depth()[0], busy=lambda: bool(heartbeat.held()), work=analyst.analyze_next
    )
    metrics.INFO.labels(settings.engine, info.model_pack, info.embedding_contract, info.provider).set(1)
    metrics.THREADS.set(info.threads)
    metrics.BUSY.set_function(lambda: len(heartbeat.held()))
    heartbeat.start()
    sweeper.start()
    watchdog.start()
    cancels.start()
    polling_fallback.start()
    _runtime.append(Runtime(analyst, heartbeat, sweeper, doorbell, exclusive_gate, watchdog, cancels, polling_fallback))
    log.info("worker.ready", worker=worker, pack=info.model_pack, provider=info.provider, threads=info.threads)


def current() -> Runtime:
    """This process's runtime."""
    return _runtime[0]


def readiness() -> Readiness:
    """Whether this process is warmed, takes jobs, and is heard by the store."""
    if not _runtime:
        return Readiness.LOADING
    if _runtime[0].exclusive_gate.closed:
        return Readiness.DRAINING
    return Readiness.AWAY if _runtime[0].heartbeat.unheard else Readiness.READY


def drain() -> None:
    """Take no new job; those in work may end."""
    for runtime in _runtime:
        runtime.exclusive_gate.close()


def give_up() -> None:
    """Leave with jobs still in work: their claims are given back, and they run elsewhere."""
    log.warning("worker.drain_over", detail="jobs still in work will run again elsewhere")
    for runtime in _runtime:
        runtime.watchdog.abandon(1)
    os._exit(1)


def stop() -> None:
    """Stop the threads and take the worker off the roll; jobs have been finished before."""
    while _monitor:
        _monitor.pop().__exit__()
    while _runtime:
        runtime = _runtime.pop()
        runtime.polling_fallback.stop()
        runtime.watchdog.stop()
        runtime.cancels.stop()
        runtime.sweeper.stop()
        runtime.heartbeat.stop()
        runtime.doorbell.close()
        tracing.stop()
        log.info("worker.stopped")
