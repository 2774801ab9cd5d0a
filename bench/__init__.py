"""Measures what Vultus promises about speed and memory: `make bench`."""
