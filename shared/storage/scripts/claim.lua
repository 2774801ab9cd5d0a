-- claim: the longest-waiting job goes to one worker, with a lease and a fencing token.
-- KEYS pending leases
-- ARGV prefix worker lease_seconds
while true do
  local popped = redis.call('ZPOPMIN', KEYS[1])
  if #popped == 0 then return false end
  local id = popped[1]
  local job = ARGV[1] .. 'job:' .. id
  if redis.call('HGET', job, 'status') == 'queued' then
    local time = redis.call('TIME')
    local attempt = redis.call('HINCRBY', job, 'attempts', 1)
    local token = ARGV[2] .. ':' .. attempt
    redis.call('HSET', job, 'status', 'running', 'token', token,
      'started_at', string.format('%d.%06d', time[1], time[2]))
    redis.call('ZADD', KEYS[2], time[1] + time[2] / 1e6 + tonumber(ARGV[3]), id)
    redis.call('PUBLISH', ARGV[1] .. 'events', id .. ' running')
    return {token, redis.call('HGETALL', job),
      redis.call('GET', ARGV[1] .. 'image:' .. id), redis.call('GET', ARGV[1] .. 'reference:' .. id)}
  end
end
