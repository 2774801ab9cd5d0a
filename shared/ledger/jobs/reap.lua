#!lua flags=allow-oom
-- reap: return jobs whose lease expired to their old place in the queue; after the last attempt, fail as worker_lost.
-- Expire queued jobs past their deadline. End liveness sessions that timed out. Remove expired jobs from the index.
-- First, repair scores that a clock set back left in the future.
-- KEYS queue
-- ARGV prefix max_attempts most error keep_seconds lease_seconds
local max_attempts, most, error_json = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local keep_seconds, lease_seconds = tonumber(ARGV[5]), tonumber(ARGV[6])
cap_leases(lease_seconds, most)
cap_queue(most)
end_sessions(most)
local function due(set)
  return redis.call('ZRANGE', prefix .. set, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
end
local requeued, lost, expired = {}, {}, {}
for _, id in ipairs(due('leases')) do
  local job = prefix .. 'job:' .. id
  local status, attempts = unpack(redis.call('HMGET', job, 'status', 'attempts'))
  if status ~= 'running' then
    redis.call('ZREM', prefix .. 'leases', id)
  elseif tonumber(attempts) < max_attempts then
    redis.call('ZREM', prefix .. 'leases', id)
    redis.call('HDEL', job, 'token')
    move(id, 'queued')
    enqueue(id)
    count('requeued')
    requeued[#requeued + 1] = id
  else
    conclude(id, 'failed', {'error', error_json}, keep_seconds, true)
    lost[#lost + 1] = id
  end
end
for _, id in ipairs(due('deadlines')) do
  if redis.call('HGET', prefix .. 'job:' .. id, 'status') == 'queued' then
    conclude(id, 'expired', {}, 0)
    expired[#expired + 1] = id
  else
    redis.call('ZREM', prefix .. 'deadlines', id)
  end
end
for _, id in ipairs(due('sessions')) do
  local status, ends_at = unpack(redis.call('HMGET', prefix .. 'session:' .. id, 'status', 'ends_at'))
  if status ~= 'running' then
    redis.call('ZREM', prefix .. 'sessions', id)
  elseif tonumber(ends_at) <= now then
    close(id, 'expired', 'session_timeout', '')
  else
    close(id, 'failed', 'step_timeout', '')
  end
end
for _, entry in ipairs(due('expiry')) do
  local index_key, id = string.match(entry, '^(.*):([^:]*)$')
  redis.call('ZREM', prefix .. 'index:' .. index_key, id)
  redis.call('ZREM', prefix .. 'expiry', entry)
end
return {requeued, lost, expired, redis.call('ZCARD', KEYS[1])}
