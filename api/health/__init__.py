"""Health checks and the documentation pages."""
