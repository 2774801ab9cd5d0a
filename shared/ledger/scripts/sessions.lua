-- sessions: functions shared by the scripts of liveness sessions, prepended after common.lua.

-- The only place where a session reaches a terminal state. Erases its face data and the job of its current frame.
local function close(id, to, reason, progress)
  local key = prefix .. 'session:' .. id
  local ttl, webhook, job, tenant = unpack(redis.call('HMGET', key, 'ttl', 'webhook', 'job', 'tenant'))
  ttl = tonumber(ttl)
  if job then erase(job) end
  redis.call('HDEL', key, 'memory', 'job', 'digest', 'sequence', 'taken_at', 'received_at', 'step_ends_at')
  redis.call('HSET', key, 'status', to, 'finished_at', stamp(now), 'expires_at', stamp(now + ttl))
  if reason ~= '' then redis.call('HSET', key, 'reason', reason) end
  if progress ~= '' then redis.call('HSET', key, 'progress', progress) end
  redis.call('HINCRBY', key, 'version', 1)
  redis.call('EXPIRE', key, ttl)
  redis.call('ZREM', prefix .. 'sessions', id)
  enqueue_event({id = id, type = 'liveness_session.completed', tenant = tenant, status = to,
    code = reason ~= '' and reason or nil}, webhook)
  redis.call('PUBLISH', prefix .. 'completions', id .. ' completed')
end
