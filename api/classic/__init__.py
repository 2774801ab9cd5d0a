"""The classic synchronous calls, answered from jobs."""
