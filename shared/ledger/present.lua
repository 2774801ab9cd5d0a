#!lua flags=allow-oom
-- present: return the workers that are alive, and forget those that have become silent.
-- KEYS seen workers
local seen, workers = KEYS[1], KEYS[2]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local LONGEST = 120  -- seconds; an announcement that lasts longer was made before the clock was set back
local ahead = redis.call('ZRANGE', seen, '(' .. string.format('%.6f', now + LONGEST), '+inf', 'BYSCORE')
for _, worker in ipairs(ahead) do redis.call('ZADD', seen, now, worker) end
local silent = redis.call('ZRANGE', seen, '-inf', now, 'BYSCORE')
for _, worker in ipairs(silent) do
  redis.call('ZREM', seen, worker)
  redis.call('HDEL', workers, worker)
end
return redis.call('HVALS', workers)
