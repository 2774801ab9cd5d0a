"""The store of liveness sessions and its Lua scripts."""
