#!lua flags=allow-oom
-- session_step: what the frame in work came to; its job is erased in the same step. Answers 0 where it is no longer the
-- one in work: somebody else has written this.
-- KEYS session
-- ARGV prefix id job progress memory next_step to reason grace
if redis.call('HGET', KEYS[1], 'job') ~= ARGV[3] then return 0 end
if ARGV[7] ~= '' then
  close(ARGV[2], ARGV[7], ARGV[8], ARGV[4])
  return 1
end
erase(ARGV[3])
redis.call('HDEL', KEYS[1], 'job', 'digest', 'sequence', 'taken_at', 'received_at')
redis.call('HSET', KEYS[1], 'progress', ARGV[4], 'memory', ARGV[5])
redis.call('HINCRBY', KEYS[1], 'version', 1)
local known = redis.call('HMGET', KEYS[1], 'step_length', 'step_ends_at', 'ends_at')
local step_ends = tonumber(known[2])
if ARGV[6] == '1' then
  step_ends = now + known[1]
  redis.call('HSET', KEYS[1], 'step_ends_at', stamp(step_ends))
end
redis.call('ZADD', prefix .. 'sessions', math.min(step_ends + ARGV[9], tonumber(known[3])), ARGV[2])
return 1
