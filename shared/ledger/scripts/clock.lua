-- clock: functions that repair scores in the future after the server's clock was set back; prepended after sessions.lua.
-- Stateless: no lease, place in the queue or session can legitimately lie further ahead than its own length.
local SLACK = 1  -- seconds; the jobs of one batch are up to 20 ms apart
local LONGEST_SESSION = 660  -- seconds: the maximum length of a session plus a minute

local function scored_after(set, at, most)
  return redis.call('ZRANGE', prefix .. set, '(' .. stamp(at), '+inf', 'BYSCORE', 'LIMIT', 0, most)
end

-- Shorten leases to their full length from now. Their workers renew them, or they run out.
local function cap_leases(lease, most)
  for _, id in ipairs(scored_after('leases', now + lease, most)) do
    local own_lease = tonumber(redis.call('HGET', prefix .. 'job:' .. id, 'lease')) or lease
    redis.call('ZADD', prefix .. 'leases', 'XX', 'LT', stamp(now + own_lease), id)
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
      local tenant, old_start_by = unpack(redis.call('HMGET', key, 'tenant', 'start_by'))
      if redis.call('EXISTS', key) == 1 then redis.call('HSET', key, 'line', stamp(place)) end
      redis.call('ZADD', prefix .. 'queue', 'XX', stamp(place), id)
      redis.call('ZADD', prefix .. 'queue:' .. tenant, 'XX', stamp(place), id)
      if old_start_by then
        local start_by = stamp(old_start_by - (late[at + 1] - present))
        redis.call('HSET', key, 'start_by', start_by)
        redis.call('ZADD', prefix .. 'deadlines', 'XX', start_by, id)
      end
    end
  end
  for _, tenant in ipairs(scored_after('queued_tenants', now + SLACK, most)) do
    redis.call('ZADD', prefix .. 'queued_tenants', 'XX', stamp(now), tenant)
  end
end

-- End sessions that would run longer than any session can, so that their face data is erased.
local function end_sessions(most)
  for _, id in ipairs(scored_after('sessions', now + LONGEST_SESSION, most)) do
    if redis.call('HGET', prefix .. 'session:' .. id, 'status') == 'running' then
      close(id, 'expired', 'session_timeout', '')
    else
      redis.call('ZREM', prefix .. 'sessions', id)
    end
  end
end
