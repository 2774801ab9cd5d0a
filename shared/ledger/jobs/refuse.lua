#!lua flags=allow-oom
-- refuse: the images of a job cannot be had; it fails. Answers 0 where it waits for none.
-- KEYS fetch
-- ARGV prefix id error keep_seconds
if redis.call('ZREM', KEYS[1], ARGV[2]) == 0 then return 0 end
conclude(ARGV[2], 'failed', {'error', ARGV[3]}, tonumber(ARGV[4]))
return 1
