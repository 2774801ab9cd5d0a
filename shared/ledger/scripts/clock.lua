-- clock: repairs scores that lie in the future because the server's clock was set back; goes behind sessions.lua.
-- Stateless: no lease, place in the queue or session can legitimately lie further ahead than its own length.
local SLACK = 1  -- seconds; the jobs of one batch lie up to 20 ms apart
local LONGEST_SESSION = 660  -- seconds: the longest that can be asked for, and a minute

local function ahead_of(set, at, most)
  return redis.call('ZRANGE', prefix .. set, '(' .. stamp(at), '+inf', 'BYSCORE', 'LIMIT', 0, most)
end

-- End each lease at most its own length from now. Its worker renews it, or it runs out.
local function cap_leases(lease, most)
  for _, id in ipairs(ahead_of('leases', now + lease, most)) do
    local own = tonumber(redis.call('HGET', prefix .. 'job:' .. id, 'lease')) or lease
    redis.call('ZADD', prefix .. 'leases', 'XX', 'LT', stamp(now + own), id)
  end
end

-- Move queued jobs that were accepted "in the future" to the present, in their order, ahead of what is accepted from
-- now on. Their deadlines move with them.
local function cap_queue(most)
  for band = 0, 2 do
    local present = band * BAND + now
    local late = redis.call('ZRANGE', prefix .. 'queue', '(' .. stamp(present + SLACK),
      '(' .. stamp((band + 1) * BAND), 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
    for at = 1, #late, 2 do
      local id, place = late[at], present + at * 1e-5
      local key = prefix .. 'job:' .. id
      local job = redis.call('HMGET', key, 'tenant', 'start_by')
      if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'line', stamp(place)) end
      redis.call('ZADD', prefix .. 'queue', 'XX', stamp(place), id)
      redis.call('ZADD', prefix .. 'queue:' .. job[1], 'XX', stamp(place), id)
      if job[2] then
        local start_by = stamp(job[2] - (late[at + 1] - present))
        redis.call('HSET', key, 'start_by', start_by)
        redis.call('ZADD', prefix .. 'deadlines', 'XX', start_by, id)
      end
    end
  end
  for _, tenant in ipairs(ahead_of('queued_tenants', now + SLACK, most)) do
    redis.call('ZADD', prefix .. 'queued_tenants', 'XX', stamp(now), tenant)
  end
end

-- End sessions that would outlast the longest one: what they remember of faces is erased.
local function end_sessions(most)
  for _, id in ipairs(ahead_of('sessions', now + LONGEST_SESSION, most)) do
    if redis.call('HGET', prefix .. 'session:' .. id, 'status') == 'running' then
      close(id, 'expired', 'session_timeout', '')
    else
      redis.call('ZREM', prefix .. 'sessions', id)
    end
  end
end
