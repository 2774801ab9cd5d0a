-- sessions: what the steps of liveness sessions share; goes behind common.lua.

-- A session ends here and nowhere else: what it remembers of faces, and its frame in work, are gone in the same step.
local function close(id, to, reason, progress)
  local key = prefix .. 'session:' .. id
  local known = redis.call('HMGET', key, 'ttl', 'webhook', 'job', 'tenant')
  local ttl = tonumber(known[1])
  if known[3] then erase(known[3]) end
  redis.call('HDEL', key, 'memory', 'job', 'digest', 'sequence', 'taken_at', 'received_at', 'step_ends_at')
  redis.call('HSET', key, 'status', to, 'finished_at', stamp(now), 'expires_at', stamp(now + ttl))
  if reason ~= '' then redis.call('HSET', key, 'reason', reason) end
  if progress ~= '' then redis.call('HSET', key, 'progress', progress) end
  redis.call('HINCRBY', key, 'version', 1)
  redis.call('EXPIRE', key, ttl)
  redis.call('ZREM', prefix .. 'sessions', id)
  enqueue_event({id = id, type = 'liveness_session.completed', tenant = known[4], status = to,
    code = reason ~= '' and reason or nil}, known[2])
  redis.call('PUBLISH', prefix .. 'completions', id .. ' completed')
end
