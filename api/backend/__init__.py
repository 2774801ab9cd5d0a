"""Long-lived resources of a gateway process: ledger, waits, URL fetches, and the list of workers."""
