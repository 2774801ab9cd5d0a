-- deliveries: what the steps of webhooks share; goes behind common.lua.
local LOG_KEPT = 30 * 86400  -- seconds that a destination's log is kept without a new entry
local HEALTH_KEPT = 7 * 86400  -- seconds that the failures of a destination are remembered

-- A destination's place among the due ones: when something can be done there, now at the earliest. That is when the
-- first in its queue may go, where fewer than `limit` are in hand and it does not rest; or when a hold runs out.
-- Whoever has had a turn goes behind those who wait for theirs; who waits keeps the place.
local function reckon(name, limit, had_turn)
  local at
  local first = redis.call('ZRANGE', prefix .. 'queue:' .. name, 0, 0, 'WITHSCORES')[2]
  if first and redis.call('ZCARD', prefix .. 'flying:' .. name) < limit then
    at = math.max(first, redis.call('HGET', prefix .. 'destination:' .. name, 'open_until') or 0, now)
  end
  local back = redis.call('ZRANGE', prefix .. 'flying:' .. name, 0, 0, 'WITHSCORES')[2]
  if back then at = math.min(at or math.huge, back) end
  if not at then redis.call('ZREM', prefix .. 'due', name)
  elseif had_turn then redis.call('ZADD', prefix .. 'due', at, name)
  else redis.call('ZADD', prefix .. 'due', 'LT', at, name) end
end

-- A delivery waits in its destination's queue until `at`; where that is now, whoever sends is told.
local function wait_until(at, name, id)
  if at <= now then redis.call('PUBLISH', prefix .. 'outbox_signal', id) end
  redis.call('HSET', prefix .. 'delivery:' .. id, 'status', 'pending', 'next_at', stamp(at))
  redis.call('ZADD', prefix .. 'queue:' .. name, at, id)
end

-- A delivery comes into being, once, and is due now. `one` names it, its event and its destination.
local function plan(one, event)
  local key = prefix .. 'delivery:' .. one.id
  if redis.call('EXISTS', key) == 1 then return end
  redis.call('HSET', key, 'id', one.id, 'event', event, 'destination', one.destination, 'attempts', 0, 'tries', 0,
    'created_at', stamp(now))
  if one.endpoint then redis.call('HSET', key, 'endpoint', one.endpoint) end
  if one.webhook then redis.call('HSET', key, 'webhook', one.webhook) end
  local log = prefix .. 'log:' .. one.destination
  for _, old in ipairs(redis.call('ZRANGE', log, 0, 1)) do
    if redis.call('EXISTS', prefix .. 'delivery:' .. old) == 0 then redis.call('ZREM', log, old) end
  end
  redis.call('ZADD', log, now, one.id)
  redis.call('EXPIRE', log, LOG_KEPT)
  wait_until(now, one.destination, one.id)
  reckon(one.destination, math.huge, false)
end

local function log_attempt(id, attempt)
  redis.call('RPUSH', prefix .. 'attempts:' .. id, attempt)
  redis.call('LTRIM', prefix .. 'attempts:' .. id, -20, -1)
end
