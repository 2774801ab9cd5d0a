"""Outbound connections: URL rules, address checks, pinned connections, response limits."""
