"""The store of jobs and its Lua scripts."""
