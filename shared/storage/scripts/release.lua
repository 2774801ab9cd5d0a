#!lua flags=allow-oom
-- release: a worker that has to go gives a claim back, and the job is in line again at its old place.
-- Without an error its start does not count; with one it does, and the job fails where it was the last.
-- Answers 0 when the job is no longer this token's.
-- KEYS job pending leases image reference
-- ARGV prefix id token error max_attempts
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[3] then return 0 end
redis.call('HDEL', KEYS[1], 'token')
redis.call('ZREM', KEYS[3], ARGV[2])
if ARGV[4] ~= 'null' and tonumber(redis.call('HGET', KEYS[1], 'attempts')) >= tonumber(ARGV[5]) then
  local time = redis.call('TIME')
  local ttl = tonumber(redis.call('HGET', KEYS[1], 'ttl'))
  redis.call('HSET', KEYS[1], 'status', 'failed', 'error', ARGV[4],
    'finished_at', string.format('%d.%06d', time[1], time[2]),
    'expires_at', string.format('%d.%06d', time[1] + ttl, time[2]))
  redis.call('EXPIRE', KEYS[1], ttl)
  redis.call('DEL', KEYS[4], KEYS[5])
  redis.call('PUBLISH', ARGV[1] .. 'events', ARGV[2] .. ' failed')
  return 1
end
if ARGV[4] == 'null' then redis.call('HINCRBY', KEYS[1], 'attempts', -1) end
redis.call('HSET', KEYS[1], 'status', 'queued')
redis.call('ZADD', KEYS[2], redis.call('HGET', KEYS[1], 'created_at'), ARGV[2])
redis.call('PUBLISH', ARGV[1] .. 'events', ARGV[2] .. ' queued')
return 1
