#!lua flags=allow-oom
-- finish: one visible end, written once, by the worker that still holds the token; the image goes in the same step.
-- KEYS job leases image reference
-- ARGV prefix id token status result error metrics provenance cached_as
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[3] then return 0 end
local time = redis.call('TIME')
local ttl = tonumber(redis.call('HGET', KEYS[1], 'ttl'))
redis.call('HSET', KEYS[1], 'status', ARGV[4], 'result', ARGV[5], 'error', ARGV[6], 'metrics', ARGV[7],
  'provenance', ARGV[8], 'finished_at', string.format('%d.%06d', time[1], time[2]),
  'expires_at', string.format('%d.%06d', time[1] + ttl, time[2]))
redis.call('HDEL', KEYS[1], 'token')
if ARGV[9] ~= '' then redis.call('HSET', KEYS[1], 'cached_as', ARGV[9]) end
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('ZREM', KEYS[2], ARGV[2])
redis.call('DEL', KEYS[3], KEYS[4])
redis.call('PUBLISH', ARGV[1] .. 'events', ARGV[2] .. ' ' .. ARGV[4])
return 1
