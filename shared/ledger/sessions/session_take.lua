-- session_take: queue the job of a frame, which becomes the session's current one. A frame that is too late or exceeds
-- the limit ends the session instead. Until it is done only the session's own end stops it: a slow queue fails no session.
-- KEYS session
-- ARGV prefix id version job(JSON) image digest sequence taken_at most age grant(JSON)
local id = ARGV[2]
local found = redis.call('HMGET', KEYS[1], 'status', 'job', 'version', 'ends_at', 'step_ends_at', 'frames',
  'most_frames', 'step_length')
if not found[1] then return {'none'} end
if found[1] ~= 'running' then return {'ended'} end
if found[2] then return {'busy'} end
if found[3] ~= ARGV[3] then return {'moved'} end
if tonumber(found[4]) <= now then
  close(id, 'expired', 'session_timeout', '')
  return {'ended'}
elseif found[5] and tonumber(found[5]) <= now then
  close(id, 'failed', 'late_frame', '')
  return {'refused'}
elseif tonumber(found[6]) >= tonumber(found[7]) then
  close(id, 'failed', 'too_many_frames', '')
  return {'refused'}
end
local full = refusal(ARGV[9], ARGV[10], ARGV[11], 1)
if full then return full end
local job = cjson.decode(ARGV[4])
redis.call('SET', prefix .. 'image:' .. job.fields.id, ARGV[5])
admit(job, 0)
redis.call('HSET', KEYS[1], 'job', job.fields.id, 'digest', ARGV[6], 'sequence', ARGV[7], 'taken_at', ARGV[8],
  'received_at', stamp(now))
if not found[5] then redis.call('HSET', KEYS[1], 'step_ends_at', stamp(now + found[8])) end
redis.call('HINCRBY', KEYS[1], 'frames', 1)
redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('ZADD', prefix .. 'sessions', found[4], id)
return {'taken'}
