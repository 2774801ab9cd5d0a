#!lua flags=allow-oom
-- key_find: the record of a key that is being used, and that of its tenant; the use is noted once a minute.
-- KEYS key
-- ARGV tenant_key_prefix
local key = redis.call('HGETALL', KEYS[1])
if #key == 0 then return false end
local time = redis.call('TIME')
local used = redis.call('HMGET', KEYS[1], 'last_used_at', 'tenant')
if time[1] - (used[1] or 0) >= 60 then redis.call('HSET', KEYS[1], 'last_used_at', time[1]) end
return {key, redis.call('HGETALL', ARGV[1] .. used[2])}
