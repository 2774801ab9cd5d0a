#!lua flags=allow-oom
-- endpoint_failed: record a failed attempt. Returns the time of the first of the consecutive failures, and the time now.
-- KEYS endpoint
local endpoint = KEYS[1]
local time = redis.call('TIME')
local now = string.format('%.6f', time[1] + time[2] / 1e6)
if redis.call('EXISTS', endpoint) == 0 then return false end
redis.call('HSETNX', endpoint, 'failing_since', now)
return {redis.call('HGET', endpoint, 'failing_since'), now}
