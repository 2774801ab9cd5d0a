"""Webhooks: events, deliveries, signatures, and their settings, shared by gateway and courier."""
