#!lua flags=allow-oom
-- session_delete: nothing of the session is left, nor of its frame in work. Answers 0 where there was none.
-- KEYS session
-- ARGV prefix id
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local job = redis.call('HGET', KEYS[1], 'job')
if job then erase(job) end
redis.call('DEL', KEYS[1])
redis.call('ZREM', prefix .. 'sessions', ARGV[2])
redis.call('PUBLISH', prefix .. 'completions', ARGV[2] .. ' deleted')
return 1
