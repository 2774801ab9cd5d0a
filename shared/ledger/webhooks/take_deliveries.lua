#!lua flags=allow-oom
-- take_deliveries: lease deliveries that are due; destinations take turns. Deliveries whose lease ran out are queued again.
-- KEYS due
-- ARGV prefix most hold_seconds per_destination token held(JSON: number of the caller's deliveries by tenant; or empty)
local due_destinations, most, hold, per_destination = KEYS[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local token_prefix, held = ARGV[5], ARGV[6] ~= '' and cjson.decode(ARGV[6])
local SHARE_WAIT = 0.25  -- seconds until destinations of a tenant that has used its share are examined again
local SKIPPED = held and 256 or 0  -- destinations to examine beyond the number that can be served
local taken = {}

-- Return how many more deliveries of this tenant may be taken: it may use at most as many slots as stay free.
local function share(tenant)
  if not held then return most end
  return math.max(0, math.floor((most - #taken - (held[tenant] or 0) + 1) / 2))
end
-- If the server's clock was set back, shorten leases to their full length from now.
local function cap_leases(destination)
  local flying = prefix .. 'flying:' .. destination
  for _, id in ipairs(redis.call('ZRANGE', flying, '(' .. stamp(now + hold), '+inf', 'BYSCORE')) do
    local own_hold = tonumber(redis.call('HGET', prefix .. 'delivery:' .. id, 'hold')) or hold
    redis.call('ZADD', flying, 'XX', 'LT', stamp(now + own_hold), id)
  end
end
-- Queue deliveries whose lease ran out again, with a failed attempt in their log.
local function requeue_lost(destination)
  cap_leases(destination)
  for _, id in ipairs(redis.call('ZRANGE', prefix .. 'flying:' .. destination, '-inf', now, 'BYSCORE')) do
    local delivery = prefix .. 'delivery:' .. id
    local attempts, began = unpack(redis.call('HMGET', delivery, 'attempts', 'began'))
    redis.call('ZREM', prefix .. 'flying:' .. destination, id)
    redis.call('HDEL', delivery, 'token')
    redis.call('HSET', delivery, 'last_error', 'courier_lost')
    log_attempt(id, cjson.encode({number = tonumber(attempts), at = tonumber(began), error = 'courier_lost',
      milliseconds = math.floor((now - began) * 1000)}))
    wait_until(now, destination, id)
  end
end
for _, destination in ipairs(redis.call('ZRANGE', due_destinations, '-inf', now, 'BYSCORE', 'LIMIT', 0, most + SKIPPED)) do
  if #taken >= most then break end
  requeue_lost(destination)
  local failures, open_until = unpack(redis.call('HMGET', prefix .. 'destination:' .. destination, 'failures', 'open_until'))
  failures = tonumber(failures or 0)
  local limit = failures > 0 and 1 or per_destination
  local waits = false
  local free = math.min(limit - redis.call('ZCARD', prefix .. 'flying:' .. destination), most - #taken)
  if free > 0 and tonumber(open_until or 0) <= now then
    local queue = prefix .. 'queue:' .. destination
    local due = redis.call('ZRANGE', queue, '-inf', now, 'BYSCORE', 'LIMIT', 0, free)
    local tenant = due[1] and owner(prefix .. 'event:' .. redis.call('HGET', prefix .. 'delivery:' .. due[1], 'event'))
    local allowed = math.min(#due, share(tenant))
    if held and tenant then held[tenant] = (held[tenant] or 0) + allowed end
    waits = #due > allowed
    for at = 1, allowed do
      local id = due[at]
      local delivery = prefix .. 'delivery:' .. id
      local token = token_prefix .. ':' .. #taken
      redis.call('ZREM', queue, id)
      redis.call('ZADD', prefix .. 'flying:' .. destination, now + hold, id)
      redis.call('HINCRBY', delivery, 'attempts', 1)
      redis.call('HINCRBY', delivery, 'tries', 1)
      redis.call('HSET', delivery, 'token', token, 'began', stamp(now), 'hold', hold)
      redis.call('HDEL', delivery, 'next_at')
      local event = redis.call('HGETALL', prefix .. 'event:' .. redis.call('HGET', delivery, 'event'))
      taken[#taken + 1] = {token, stamp(now), failures, redis.call('HGETALL', delivery), event}
    end
  end
  reschedule(destination, limit, true)
  if waits then redis.call('ZADD', due_destinations, 'GT', now + SHARE_WAIT, destination) end
end
return taken
