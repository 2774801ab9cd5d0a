#!lua flags=allow-oom
-- endpoint_failed: an attempt at an endpoint came to nothing. Answers since when none has come to anything, and the time.
-- KEYS endpoint
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1e6)
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
redis.call('HSETNX', KEYS[1], 'failing_since', now)
return {redis.call('HGET', KEYS[1], 'failing_since'), now}
