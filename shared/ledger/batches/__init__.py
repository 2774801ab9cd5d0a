"""The store of batches and its Lua scripts."""
