#!lua flags=allow-oom
-- reap: a job whose lease ran out goes back in line, at its old place; after its last attempt it fails as worker_lost.
-- A job that waited beyond its deadline expires. A liveness session whose time is over ends. The index forgets jobs
-- whose time to be read is over. First, what a clock that was set back left in the future is repaired.
-- KEYS queue
-- ARGV prefix max_attempts most error keep_seconds lease_seconds
cap_leases(tonumber(ARGV[6]), tonumber(ARGV[3]))
cap_queue(tonumber(ARGV[3]))
end_sessions(tonumber(ARGV[3]))
local function due(line)
  return redis.call('ZRANGE', prefix .. line, '-inf', now, 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[3]))
end
local requeued, lost, expired = {}, {}, {}
for _, id in ipairs(due('leases')) do
  local job = prefix .. 'job:' .. id
  local found = redis.call('HMGET', job, 'status', 'attempts')
  if found[1] ~= 'running' then
    redis.call('ZREM', prefix .. 'leases', id)
  elseif tonumber(found[2]) < tonumber(ARGV[2]) then
    redis.call('ZREM', prefix .. 'leases', id)
    redis.call('HDEL', job, 'token')
    move(id, 'queued')
    line_up(id)
    count('requeued')
    requeued[#requeued + 1] = id
  else
    conclude(id, 'failed', {'error', ARGV[4]}, tonumber(ARGV[5]), true)
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
  local found = redis.call('HMGET', prefix .. 'session:' .. id, 'status', 'ends_at')
  if found[1] ~= 'running' then
    redis.call('ZREM', prefix .. 'sessions', id)
  elseif tonumber(found[2]) <= now then
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
