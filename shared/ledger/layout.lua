#!lua flags=allow-oom
-- layout: return the number of shards that the ledger was set up with. The first process sets it.
-- Writes the number again each time, so that a store that accepts no writes returns an error.
-- KEYS layout
-- ARGV shards
local layout = KEYS[1]
local shards = redis.call('GET', layout) or ARGV[1]
redis.call('SET', layout, shards)
return shards
