"""The stores of tenants, API keys and the audit log, and their Lua scripts."""
