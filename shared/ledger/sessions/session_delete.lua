#!lua flags=allow-oom
-- session_delete: erase every trace of a session and its current frame. Returns 0 if the session does not exist.
-- KEYS session
-- ARGV prefix id
local session, id = KEYS[1], ARGV[2]
if redis.call('EXISTS', session) == 0 then return 0 end
local job = redis.call('HGET', session, 'job')
if job then erase(job) end
redis.call('DEL', session)
redis.call('ZREM', prefix .. 'sessions', id)
redis.call('PUBLISH', prefix .. 'completions', id .. ' deleted')
return 1
