#!lua flags=allow-oom
-- take_deliveries: what is to be sent now, of each destination in its turn. Who was in hand for too long comes back.
-- KEYS due
-- ARGV prefix most hold_seconds per_destination token held(JSON: deliveries in the caller's hands by tenant; or empty)
local most, hold, usual = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local held = ARGV[6] ~= '' and cjson.decode(ARGV[6])
local SHARE_WAIT = 0.25  -- seconds until the destinations of a tenant that has its share are looked at again
local PASSED = held and 256 or 0  -- destinations that are looked at beyond those that may be served
local taken = {}

-- How many more of this tenant's may be taken: it holds no more places than it leaves free.
local function share(tenant)
  if not held then return most end
  return math.max(0, math.floor((most - #taken - (held[tenant] or 0) + 1) / 2))
end
-- The server's clock was set back: no hold can end later than its own length from now.
local function cap_holds(name)
  local flying = prefix .. 'flying:' .. name
  for _, id in ipairs(redis.call('ZRANGE', flying, '(' .. stamp(now + hold), '+inf', 'BYSCORE')) do
    local own = tonumber(redis.call('HGET', prefix .. 'delivery:' .. id, 'hold')) or hold
    redis.call('ZADD', flying, 'XX', 'LT', stamp(now + own), id)
  end
end
local function bring_back(name)
  cap_holds(name)
  for _, id in ipairs(redis.call('ZRANGE', prefix .. 'flying:' .. name, '-inf', now, 'BYSCORE')) do
    local key = prefix .. 'delivery:' .. id
    local known = redis.call('HMGET', key, 'attempts', 'began')
    redis.call('ZREM', prefix .. 'flying:' .. name, id)
    redis.call('HDEL', key, 'token')
    redis.call('HSET', key, 'last_error', 'courier_lost')
    log_attempt(id, cjson.encode({number = tonumber(known[1]), at = tonumber(known[2]), error = 'courier_lost',
      milliseconds = math.floor((now - known[2]) * 1000)}))
    wait_until(now, name, id)
  end
end
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, most + PASSED)) do
  if #taken >= most then break end
  bring_back(name)
  local known = redis.call('HMGET', prefix .. 'destination:' .. name, 'failures', 'open_until')
  local failures = tonumber(known[1] or 0)
  local limit = failures > 0 and 1 or usual
  local waits = false
  local free = math.min(limit - redis.call('ZCARD', prefix .. 'flying:' .. name), most - #taken)
  if free > 0 and tonumber(known[2] or 0) <= now then
    local queue = prefix .. 'queue:' .. name
    local due = redis.call('ZRANGE', queue, '-inf', now, 'BYSCORE', 'LIMIT', 0, free)
    local tenant = due[1] and owner(prefix .. 'event:' .. redis.call('HGET', prefix .. 'delivery:' .. due[1], 'event'))
    local most_here = math.min(#due, share(tenant))
    if held and tenant then held[tenant] = (held[tenant] or 0) + most_here end
    waits = #due > most_here
    for at = 1, most_here do
      local id = due[at]
      local key = prefix .. 'delivery:' .. id
      local token = ARGV[5] .. ':' .. #taken
      redis.call('ZREM', queue, id)
      redis.call('ZADD', prefix .. 'flying:' .. name, now + hold, id)
      redis.call('HINCRBY', key, 'attempts', 1)
      redis.call('HINCRBY', key, 'tries', 1)
      redis.call('HSET', key, 'token', token, 'began', stamp(now), 'hold', hold)
      redis.call('HDEL', key, 'next_at')
      local event = redis.call('HGETALL', prefix .. 'event:' .. redis.call('HGET', key, 'event'))
      taken[#taken + 1] = {token, stamp(now), failures, redis.call('HGETALL', key), event}
    end
  end
  reckon(name, limit, true)
  if waits then redis.call('ZADD', KEYS[1], 'GT', now + SHARE_WAIT, name) end
end
return taken
