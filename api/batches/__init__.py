"""Batches: many jobs in one request."""
