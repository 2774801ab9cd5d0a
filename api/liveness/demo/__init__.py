"""The demo page of a liveness session."""
