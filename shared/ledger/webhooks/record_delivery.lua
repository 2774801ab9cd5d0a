#!lua flags=allow-oom
-- record_delivery: record the outcome of a leased delivery. Returns 0 if the token no longer holds it.
-- Without an attempt no request was made, and the attempt does not count.
-- KEYS delivery
-- ARGV prefix id token status again_in attempt(JSON) unwell pause keep_seconds event_keep_seconds last_status last_error
--      failures(consecutive failures of the destination when the delivery was taken)
local delivery, id, token, status = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local again_in, attempt, unwell, pause = tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1', tonumber(ARGV[8])
local keep_seconds, event_keep_seconds = ARGV[9], ARGV[10]
local last_status, last_error, failures = ARGV[11], ARGV[12], ARGV[13]
if redis.call('HGET', delivery, 'token') ~= token then return 0 end
local destination, event_id = unpack(redis.call('HMGET', delivery, 'destination', 'event'))
local event, health = prefix .. 'event:' .. event_id, prefix .. 'destination:' .. destination
redis.call('HDEL', delivery, 'token', 'began', 'last_status', 'last_error')
redis.call('ZREM', prefix .. 'flying:' .. destination, id)
if last_status ~= '' then redis.call('HSET', delivery, 'last_status', last_status) end
if last_error ~= '' then redis.call('HSET', delivery, 'last_error', last_error) end
if attempt ~= '' then log_attempt(id, attempt)
else redis.call('HINCRBY', delivery, 'attempts', -1) end
if status == 'delivered' then
  redis.call('DEL', health)
elseif unwell then
  local current_failures, open_until = unpack(redis.call('HMGET', health, 'failures', 'open_until'))
  -- Attempts that were started together count as one consecutive failure.
  if (current_failures or '0') == failures then redis.call('HINCRBY', health, 'failures', 1) end
  if pause > 0 then redis.call('HSET', health, 'open_until', stamp(math.max(now + pause, open_until or 0))) end
  redis.call('EXPIRE', health, HEALTH_KEPT)
end
if status == 'pending' then
  wait_until(now + again_in, destination, id)
else
  redis.call('HSET', delivery, 'status', status, 'ended_at', stamp(now))
  redis.call('EXPIRE', delivery, keep_seconds)
  redis.call('EXPIRE', prefix .. 'attempts:' .. id, keep_seconds)
  if redis.call('HINCRBY', event, 'left', -1) <= 0 then redis.call('EXPIRE', event, event_keep_seconds) end
end
reschedule(destination, math.huge, false)
return 1
