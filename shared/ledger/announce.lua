#!lua flags=allow-oom
-- announce: a warmed worker says that it is alive, until a moment in the future.
-- KEYS seen info
-- ARGV worker seconds info
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] + time[2] / 1e6 + tonumber(ARGV[2]), ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], ARGV[3])
return 1
