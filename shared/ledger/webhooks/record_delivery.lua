#!lua flags=allow-oom
-- record_delivery: what came of an attempt. Answers 0 when the delivery is no longer this token's.
-- Without an attempt none was made, and none counts.
-- KEYS delivery
-- ARGV prefix id token status again_in attempt(JSON) unwell pause keep_seconds event_keep_seconds last_status last_error
--      failures(in a row when it was taken)
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[3] then return 0 end
local id, status, attempt = ARGV[2], ARGV[4], ARGV[6]
local known = redis.call('HMGET', KEYS[1], 'destination', 'event')
local name, event = known[1], prefix .. 'event:' .. known[2]
local health = prefix .. 'destination:' .. name
redis.call('HDEL', KEYS[1], 'token', 'began', 'last_status', 'last_error')
redis.call('ZREM', prefix .. 'flying:' .. name, id)
if ARGV[11] ~= '' then redis.call('HSET', KEYS[1], 'last_status', ARGV[11]) end
if ARGV[12] ~= '' then redis.call('HSET', KEYS[1], 'last_error', ARGV[12]) end
if attempt ~= '' then log_attempt(id, attempt)
else redis.call('HINCRBY', KEYS[1], 'attempts', -1) end
if status == 'delivered' then
  redis.call('DEL', health)
elseif ARGV[7] == '1' then
  local ill = redis.call('HMGET', health, 'failures', 'open_until')
  -- What began together fails together, and is one failure in a row.
  if (ill[1] or '0') == ARGV[13] then redis.call('HINCRBY', health, 'failures', 1) end
  if tonumber(ARGV[8]) > 0 then
    redis.call('HSET', health, 'open_until', stamp(math.max(now + ARGV[8], ill[2] or 0)))
  end
  redis.call('EXPIRE', health, HEALTH_KEPT)
end
if status == 'pending' then
  wait_until(now + ARGV[5], name, id)
else
  redis.call('HSET', KEYS[1], 'status', status, 'ended_at', stamp(now))
  redis.call('EXPIRE', KEYS[1], ARGV[9])
  redis.call('EXPIRE', prefix .. 'attempts:' .. id, ARGV[9])
  if redis.call('HINCRBY', event, 'left', -1) <= 0 then redis.call('EXPIRE', event, ARGV[10]) end
end
reckon(name, math.huge, false)
return 1
