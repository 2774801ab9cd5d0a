#!lua flags=allow-oom
-- session_close: the session ends now, unless it has. With a version, only where it has not changed since.
-- KEYS session
-- ARGV prefix id version to reason progress
local found = redis.call('HMGET', KEYS[1], 'status', 'version')
if found[1] ~= 'running' or (ARGV[3] ~= '' and found[2] ~= ARGV[3]) then return 0 end
close(ARGV[2], ARGV[4], ARGV[5], ARGV[6])
return 1
