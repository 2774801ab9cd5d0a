#!lua flags=allow-oom
-- key_find: return the records of an API key and of its tenant, and store the time of use at most once per minute.
-- KEYS key
-- ARGV tenant_key_prefix
local key, tenant_key_prefix = KEYS[1], ARGV[1]
local record = redis.call('HGETALL', key)
if #record == 0 then return false end
local time = redis.call('TIME')
local last_used_at, tenant = unpack(redis.call('HMGET', key, 'last_used_at', 'tenant'))
if time[1] - (last_used_at or 0) >= 60 then redis.call('HSET', key, 'last_used_at', time[1]) end
return {record, redis.call('HGETALL', tenant_key_prefix .. tenant)}
