"""Jobs: submit, wait, list, read, cancel, retry, delete."""
