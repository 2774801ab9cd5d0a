#!lua flags=allow-oom
-- keep_deliveries: renew a courier's leases. Deliveries that its tokens no longer hold are not changed.
-- The times at which destinations are due stay as they are: taking from one too early corrects its time.
-- KEYS due
-- ARGV prefix hold_seconds (id token)...
local hold_seconds = tonumber(ARGV[2])
for at = 3, #ARGV, 2 do
  local id, token = ARGV[at], ARGV[at + 1]
  local current_token, destination = unpack(redis.call('HMGET', prefix .. 'delivery:' .. id, 'token', 'destination'))
  if current_token == token then redis.call('ZADD', prefix .. 'flying:' .. destination, 'XX', now + hold_seconds, id) end
end
return 1
