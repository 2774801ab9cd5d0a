#!lua flags=allow-oom
-- beat: renew the lease of a worker that is alive. Returns 0 if another worker holds the job by now.
-- KEYS job
-- ARGV prefix id token lease_seconds
local id, token, lease_seconds = ARGV[2], ARGV[3], ARGV[4]
if redis.call('HGET', KEYS[1], 'token') ~= token then return 0 end
redis.call('ZADD', prefix .. 'leases', 'XX', now + lease_seconds, id)
return 1
