#!lua flags=allow-oom
-- present: who is alive now; whoever fell silent is forgotten.
-- KEYS seen info
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local LONGEST = 120  -- seconds; a worker that seems alive for longer announced itself before the clock was set back
local ahead = redis.call('ZRANGE', KEYS[1], '(' .. string.format('%.6f', now + LONGEST), '+inf', 'BYSCORE')
for _, worker in ipairs(ahead) do redis.call('ZADD', KEYS[1], now, worker) end
local gone = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE')
for _, worker in ipairs(gone) do
  redis.call('ZREM', KEYS[1], worker)
  redis.call('HDEL', KEYS[2], worker)
end
return redis.call('HVALS', KEYS[2])
