#!lua flags=allow-oom
-- session_step: store the outcome of the current frame and erase its job in the same step. Returns 0 if `job` is no
-- longer the current frame, because another gateway has stored its outcome.
-- KEYS session
-- ARGV prefix id job progress memory next_step status reason grace_seconds
local session, id, job, progress, memory = KEYS[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local next_step, to, reason, grace_seconds = ARGV[6] == '1', ARGV[7], ARGV[8], tonumber(ARGV[9])
if redis.call('HGET', session, 'job') ~= job then return 0 end
if to ~= '' then
  close(id, to, reason, progress)
  return 1
end
erase(job)
redis.call('HDEL', session, 'job', 'digest', 'sequence', 'taken_at', 'received_at')
redis.call('HSET', session, 'progress', progress, 'memory', memory)
redis.call('HINCRBY', session, 'version', 1)
local step_length, step_ends_at, ends_at = unpack(redis.call('HMGET', session, 'step_length', 'step_ends_at', 'ends_at'))
step_ends_at = tonumber(step_ends_at)
if next_step then
  step_ends_at = now + step_length
  redis.call('HSET', session, 'step_ends_at', stamp(step_ends_at))
end
redis.call('ZADD', prefix .. 'sessions', math.min(step_ends_at + grace_seconds, tonumber(ends_at)), id)
return 1
