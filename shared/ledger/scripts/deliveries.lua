-- deliveries: functions shared by the scripts of webhooks, prepended after common.lua.
local LOG_KEPT = 30 * 86400  -- seconds: lifetime of a destination's log without a new entry
local HEALTH_KEPT = 7 * 86400  -- seconds: how long the failures of a destination are remembered

-- Set when a destination is due next, now at the earliest: when the first delivery in its queue is due, if fewer than
-- `limit` are in progress and the destination is not paused; or when a lease ends. A destination that has had its turn
-- goes behind those that wait for theirs; one that is waiting keeps its place.
local function reschedule(destination, limit, had_turn)
  local at
  local first = redis.call('ZRANGE', prefix .. 'queue:' .. destination, 0, 0, 'WITHSCORES')[2]
  if first and redis.call('ZCARD', prefix .. 'flying:' .. destination) < limit then
    at = math.max(first, redis.call('HGET', prefix .. 'destination:' .. destination, 'open_until') or 0, now)
  end
  local lease_end = redis.call('ZRANGE', prefix .. 'flying:' .. destination, 0, 0, 'WITHSCORES')[2]
  if lease_end then at = math.min(at or math.huge, lease_end) end
  if not at then redis.call('ZREM', prefix .. 'due', destination)
  elseif had_turn then redis.call('ZADD', prefix .. 'due', at, destination)
  else redis.call('ZADD', prefix .. 'due', 'LT', at, destination) end
end

-- Put a delivery in its destination's queue until `at`. If that is now, wake the couriers.
local function wait_until(at, destination, id)
  if at <= now then redis.call('PUBLISH', prefix .. 'outbox_signal', id) end
  redis.call('HSET', prefix .. 'delivery:' .. id, 'status', 'pending', 'next_at', stamp(at))
  redis.call('ZADD', prefix .. 'queue:' .. destination, at, id)
end

-- Create a delivery of an event, due now, unless it exists already.
local function create_delivery(plan, event_id)
  local key = prefix .. 'delivery:' .. plan.id
  if redis.call('EXISTS', key) == 1 then return end
  redis.call('HSET', key, 'id', plan.id, 'event', event_id, 'destination', plan.destination, 'attempts', 0, 'tries', 0,
    'created_at', stamp(now))
  if plan.endpoint then redis.call('HSET', key, 'endpoint', plan.endpoint) end
  if plan.webhook then redis.call('HSET', key, 'webhook', plan.webhook) end
  local log = prefix .. 'log:' .. plan.destination
  for _, old in ipairs(redis.call('ZRANGE', log, 0, 1)) do
    if redis.call('EXISTS', prefix .. 'delivery:' .. old) == 0 then redis.call('ZREM', log, old) end
  end
  redis.call('ZADD', log, now, plan.id)
  redis.call('EXPIRE', log, LOG_KEPT)
  wait_until(now, plan.destination, plan.id)
  reschedule(plan.destination, math.huge, false)
end

local function log_attempt(id, attempt)
  redis.call('RPUSH', prefix .. 'attempts:' .. id, attempt)
  redis.call('LTRIM', prefix .. 'attempts:' .. id, -20, -1)
end
