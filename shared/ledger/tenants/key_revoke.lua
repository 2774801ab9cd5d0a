#!lua flags=allow-oom
-- key_revoke: erase an API key. Returns 0 if it does not exist.
-- KEYS key keys
-- ARGV id
local key, keys, id = KEYS[1], KEYS[2], ARGV[1]
redis.call('ZREM', keys, id)
return redis.call('DEL', key)
