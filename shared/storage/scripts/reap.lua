#!lua flags=allow-oom
-- reap: a job whose lease ran out goes back in line, at its old place; after its last attempt it fails as worker_lost.
-- KEYS pending leases
-- ARGV prefix max_attempts most error
local time = redis.call('TIME')
local overdue = redis.call('ZRANGE', KEYS[2], '-inf', time[1] + time[2] / 1e6, 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[3]))
local requeued, lost = {}, {}
for _, id in ipairs(overdue) do
  local job = ARGV[1] .. 'job:' .. id
  redis.call('ZREM', KEYS[2], id)
  if redis.call('HGET', job, 'status') == 'running' then
    redis.call('HDEL', job, 'token')
    if tonumber(redis.call('HGET', job, 'attempts')) < tonumber(ARGV[2]) then
      redis.call('HSET', job, 'status', 'queued')
      redis.call('ZADD', KEYS[1], redis.call('HGET', job, 'created_at'), id)
      redis.call('PUBLISH', ARGV[1] .. 'events', id .. ' queued')
      requeued[#requeued + 1] = id
    else
      local ttl = tonumber(redis.call('HGET', job, 'ttl'))
      redis.call('HSET', job, 'status', 'failed', 'error', ARGV[4],
        'finished_at', string.format('%d.%06d', time[1], time[2]),
        'expires_at', string.format('%d.%06d', time[1] + ttl, time[2]))
      redis.call('EXPIRE', job, ttl)
      redis.call('DEL', ARGV[1] .. 'image:' .. id, ARGV[1] .. 'reference:' .. id)
      redis.call('PUBLISH', ARGV[1] .. 'events', id .. ' failed')
      lost[#lost + 1] = id
    end
  end
end
return {requeued, lost, redis.call('ZCARD', KEYS[1])}
