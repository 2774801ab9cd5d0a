#!lua flags=allow-oom
-- take_deliveries: what is to be sent now, of each destination in its turn. Who was in hand for too long comes back.
-- KEYS due
-- ARGV prefix most hold_seconds per_destination token
local most, hold, usual = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local taken = {}
local function bring_back(name)
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
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, most)) do
  if #taken >= most then break end
  bring_back(name)
  local known = redis.call('HMGET', prefix .. 'destination:' .. name, 'failures', 'open_until')
  local failures = tonumber(known[1] or 0)
  local limit = failures > 0 and 1 or usual
  local free = math.min(limit - redis.call('ZCARD', prefix .. 'flying:' .. name), most - #taken)
  if free > 0 and tonumber(known[2] or 0) <= now then
    local queue = prefix .. 'queue:' .. name
    for _, id in ipairs(redis.call('ZRANGE', queue, '-inf', now, 'BYSCORE', 'LIMIT', 0, free)) do
      local key = prefix .. 'delivery:' .. id
      local token = ARGV[5] .. ':' .. #taken
      redis.call('ZREM', queue, id)
      redis.call('ZADD', prefix .. 'flying:' .. name, now + hold, id)
      redis.call('HINCRBY', key, 'attempts', 1)
      redis.call('HINCRBY', key, 'tries', 1)
      redis.call('HSET', key, 'token', token, 'began', stamp(now))
      redis.call('HDEL', key, 'next_at')
      local event = redis.call('HGETALL', prefix .. 'event:' .. redis.call('HGET', key, 'event'))
      taken[#taken + 1] = {token, stamp(now), failures, redis.call('HGETALL', key), event}
    end
  end
  reckon(name, limit, true)
end
return taken
