"""What one gateway process holds open: the ledger, waits, URL fetches, and the list of workers."""
