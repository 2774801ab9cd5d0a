"""The classic synchronous endpoints, backed by jobs."""
