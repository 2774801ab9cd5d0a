-- resend: make a delivery due now with a new retry schedule, even if its destination is paused. A delivery in progress
-- is not changed. Returns the records of the delivery and its event, or nothing if they do not exist.
-- KEYS delivery
-- ARGV prefix id
local delivery, id = KEYS[1], ARGV[2]
local destination, event_id, status, token = unpack(redis.call('HMGET', delivery, 'destination', 'event', 'status', 'token'))
if not destination then return false end
local event = prefix .. 'event:' .. event_id
if redis.call('EXISTS', event) == 0 then return false end
if not token then
  if status ~= 'pending' then
    redis.call('HINCRBY', event, 'left', 1)
    redis.call('PERSIST', event)
    redis.call('PERSIST', delivery)
    redis.call('PERSIST', prefix .. 'attempts:' .. id)
    redis.call('HDEL', delivery, 'ended_at')
  end
  redis.call('HSET', delivery, 'tries', 0)
  redis.call('HDEL', prefix .. 'destination:' .. destination, 'open_until')
  wait_until(now, destination, id)
  reschedule(destination, math.huge, false)
end
return {redis.call('HGETALL', delivery), redis.call('HGETALL', event)}
