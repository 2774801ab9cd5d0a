#!lua flags=allow-oom
-- beat: the worker is alive; its lease runs anew. Answers 0 when the job is no longer its own.
-- KEYS job
-- ARGV prefix id token lease_seconds
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[3] then return 0 end
redis.call('ZADD', prefix .. 'leases', 'XX', now + ARGV[4], ARGV[2])
return 1
