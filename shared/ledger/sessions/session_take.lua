-- session_take: queue the job of a frame, which becomes the session's current one. A frame that is too late or exceeds
-- the limit ends the session instead. While a frame is analyzed only the session's own timeout ends it: a slow queue
-- fails no session.
-- KEYS session
-- ARGV prefix id version job(JSON) image digest sequence taken_at most age grant(JSON)
local session, id, version, job, image = KEYS[1], ARGV[2], ARGV[3], cjson.decode(ARGV[4]), ARGV[5]
local digest, sequence, taken_at = ARGV[6], ARGV[7], ARGV[8]
local most, age, grant = ARGV[9], ARGV[10], ARGV[11]
local status, current_job, current_version, ends_at, step_ends_at, frames, most_frames, step_length = unpack(redis.call(
  'HMGET', session, 'status', 'job', 'version', 'ends_at', 'step_ends_at', 'frames', 'most_frames', 'step_length'))
if not status then return {'none'} end
if status ~= 'running' then return {'ended'} end
if current_job then return {'busy'} end
if current_version ~= version then return {'moved'} end
if tonumber(ends_at) <= now then
  close(id, 'expired', 'session_timeout', '')
  return {'ended'}
elseif step_ends_at and tonumber(step_ends_at) <= now then
  close(id, 'failed', 'late_frame', '')
  return {'refused'}
elseif tonumber(frames) >= tonumber(most_frames) then
  close(id, 'failed', 'too_many_frames', '')
  return {'refused'}
end
local refused = refusal(most, age, grant, 1)
if refused then return refused end
redis.call('SET', prefix .. 'image:' .. job.fields.id, image)
admit(job, 0)
redis.call('HSET', session, 'job', job.fields.id, 'digest', digest, 'sequence', sequence, 'taken_at', taken_at,
  'received_at', stamp(now))
if not step_ends_at then redis.call('HSET', session, 'step_ends_at', stamp(now + step_length)) end
redis.call('HINCRBY', session, 'frames', 1)
redis.call('HINCRBY', session, 'version', 1)
redis.call('ZADD', prefix .. 'sessions', ends_at, id)
return {'taken'}
