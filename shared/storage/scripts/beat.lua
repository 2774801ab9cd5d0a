#!lua flags=allow-oom
-- beat: the worker is alive; its lease runs anew. Answers 0 when the job is no longer its own.
-- KEYS job leases
-- ARGV id token lease_seconds
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
redis.call('ZADD', KEYS[2], 'XX', time[1] + time[2] / 1e6 + tonumber(ARGV[3]), ARGV[1])
return 1
