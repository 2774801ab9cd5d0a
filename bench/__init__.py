"""Benchmarks of the speed and memory targets of Vultus: `make bench`."""
