#!lua flags=allow-oom
-- session_close: end a session. Returns 0 if it has ended already, or if `version` is given and is not its version.
-- KEYS session
-- ARGV prefix id version status reason progress
local session, id, version, to, reason, progress = KEYS[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local status, current_version = unpack(redis.call('HMGET', session, 'status', 'version'))
if status ~= 'running' or (version ~= '' and current_version ~= version) then return 0 end
close(id, to, reason, progress)
return 1
