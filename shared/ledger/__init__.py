"""The stores in Valkey or Redis. Only this package talks to the server."""
