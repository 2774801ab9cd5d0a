#!lua flags=allow-oom
-- claim: the longest-waiting job goes to one worker, with a lease and a fencing token. Where memory is full as well:
-- only work that ends makes room.
-- A job that lost a worker before is given only to one that runs nothing beside it; to others the answer is 'alone'.
-- KEYS pending leases
-- ARGV prefix worker lease_seconds alone
while true do
  local first = redis.call('ZRANGE', KEYS[1], 0, 0)
  if #first == 0 then return false end
  local id = first[1]
  local job = ARGV[1] .. 'job:' .. id
  local found = redis.call('HMGET', job, 'attempts', 'status')
  if found[2] == 'queued' and ARGV[4] == '0' and tonumber(found[1]) > 0 then return {'alone'} end
  redis.call('ZREM', KEYS[1], id)
  if found[2] == 'queued' then
    local time = redis.call('TIME')
    redis.call('HINCRBY', job, 'attempts', 1)
    -- Counts every claim, also one that was given back: no token comes twice.
    local token = ARGV[2] .. ':' .. redis.call('HINCRBY', job, 'claims', 1)
    redis.call('HSET', job, 'status', 'running', 'token', token,
      'started_at', string.format('%d.%06d', time[1], time[2]))
    redis.call('ZADD', KEYS[2], time[1] + time[2] / 1e6 + tonumber(ARGV[3]), id)
    redis.call('PUBLISH', ARGV[1] .. 'events', id .. ' running')
    return {token, redis.call('HGETALL', job),
      redis.call('GET', ARGV[1] .. 'image:' .. id), redis.call('GET', ARGV[1] .. 'reference:' .. id)}
  end
end
