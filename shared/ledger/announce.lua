#!lua flags=allow-oom
-- announce: let a warm worker count as alive for some seconds.
-- KEYS seen workers
-- ARGV worker seconds info
local seen, workers = KEYS[1], KEYS[2]
local worker, seconds, info = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local time = redis.call('TIME')
redis.call('ZADD', seen, time[1] + time[2] / 1e6 + seconds, worker)
redis.call('HSET', workers, worker, info)
return 1
