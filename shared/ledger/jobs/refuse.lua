#!lua flags=allow-oom
-- refuse: fail a job whose images could not be fetched. Returns 0 if the job does not wait for images.
-- KEYS fetch
-- ARGV prefix id error keep_seconds
local id, error_json, keep_seconds = ARGV[2], ARGV[3], tonumber(ARGV[4])
if redis.call('ZREM', KEYS[1], id) == 0 then return 0 end
conclude(id, 'failed', {'error', error_json}, keep_seconds)
return 1
