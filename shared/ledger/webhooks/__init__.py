"""The stores of webhook endpoints and deliveries, and their Lua scripts."""
