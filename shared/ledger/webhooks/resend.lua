-- resend: a delivery is due now, and its schedule begins anew; its destination is tried even where it rests.
-- Answers its record, or nothing where there is none. One that is in hand just now stays there.
-- KEYS delivery
-- ARGV prefix id
local known = redis.call('HMGET', KEYS[1], 'destination', 'event', 'status', 'token')
if not known[1] then return false end
local name, event = known[1], prefix .. 'event:' .. known[2]
if redis.call('EXISTS', event) == 0 then return false end
if not known[4] then
  if known[3] ~= 'pending' then
    redis.call('HINCRBY', event, 'left', 1)
    redis.call('PERSIST', event)
    redis.call('PERSIST', KEYS[1])
    redis.call('PERSIST', prefix .. 'attempts:' .. ARGV[2])
    redis.call('HDEL', KEYS[1], 'ended_at')
  end
  redis.call('HSET', KEYS[1], 'tries', 0)
  redis.call('HDEL', prefix .. 'destination:' .. name, 'open_until')
  wait_until(now, name, ARGV[2])
  reckon(name, math.huge, false)
end
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', event)}
