#!lua flags=allow-oom
-- release: a worker that has to stop gives its claim back, and the job returns to its old place in the queue.
-- Without an error the attempt does not count. With an error it counts, and the last attempt fails the job.
-- Returns 0 if the token no longer holds the job.
-- KEYS job
-- ARGV prefix id token error max_attempts keep_seconds
local id, token, error_json = ARGV[2], ARGV[3], ARGV[4]
local max_attempts, keep_seconds = tonumber(ARGV[5]), tonumber(ARGV[6])
if redis.call('HGET', KEYS[1], 'token') ~= token then return 0 end
if error_json ~= 'null' and tonumber(redis.call('HGET', KEYS[1], 'attempts')) >= max_attempts then
  conclude(id, 'failed', {'error', error_json}, keep_seconds, true)
  return 1
end
redis.call('HDEL', KEYS[1], 'token')
redis.call('ZREM', prefix .. 'leases', id)
if error_json == 'null' then redis.call('HINCRBY', KEYS[1], 'attempts', -1) end
move(id, 'queued')
enqueue(id)
count('released')
return 1
