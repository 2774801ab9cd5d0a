"""How jobs run in a worker: leases, cancellation, the watchdog, exclusive runs, polling, memory, threads."""
