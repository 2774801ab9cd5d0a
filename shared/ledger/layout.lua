#!lua flags=allow-oom
-- layout: return the number of shards that the ledger was set up with, which is that of whoever asked first.
-- Writes the same number again, so that a store that takes no writes says so.
-- KEYS layout
-- ARGV shards
local layout = KEYS[1]
local shards = redis.call('GET', layout) or ARGV[1]
redis.call('SET', layout, shards)
return shards
