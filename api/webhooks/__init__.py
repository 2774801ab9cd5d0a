"""Webhook endpoints, deliveries, and signing secrets."""
