"""Capacity planning: queueing formulas, a simulator validated against the real stack, and plans."""
