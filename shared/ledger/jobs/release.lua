#!lua flags=allow-oom
-- release: a worker that has to go gives a claim back, and the job is in line again at its old place.
-- Without an error its start does not count; with one it does, and the job fails where it was the last.
-- Answers 0 when the job is no longer this token's.
-- KEYS job
-- ARGV prefix id token error max_attempts keep_seconds
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[3] then return 0 end
if ARGV[4] ~= 'null' and tonumber(redis.call('HGET', KEYS[1], 'attempts')) >= tonumber(ARGV[5]) then
  conclude(ARGV[2], 'failed', {'error', ARGV[4]}, tonumber(ARGV[6]), true)
  return 1
end
redis.call('HDEL', KEYS[1], 'token')
redis.call('ZREM', prefix .. 'leases', ARGV[2])
if ARGV[4] == 'null' then redis.call('HINCRBY', KEYS[1], 'attempts', -1) end
move(ARGV[2], 'queued')
line_up(ARGV[2])
count('released')
return 1
