"""Logs, request context, traces, and the monitoring port."""
