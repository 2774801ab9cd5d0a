-- session_open: store a liveness session and start its time. Opening the same id twice creates one session.
-- KEYS session
-- ARGV prefix fields(JSON of texts) length_seconds grant(JSON)
local session, fields, length_seconds, grant = KEYS[1], cjson.decode(ARGV[2]), tonumber(ARGV[3]), cjson.decode(ARGV[4])
if redis.call('EXISTS', session) == 1 then return {'known'} end
local why = void(grant)
if why then return {'void', why} end
local ends_at = now + length_seconds
for name, value in pairs(fields) do redis.call('HSET', session, name, value) end
redis.call('HSET', session, 'status', 'running', 'version', 0, 'frames', 0, 'created_at', stamp(now), 'ends_at',
  stamp(ends_at))
redis.call('ZADD', prefix .. 'sessions', ends_at, fields.id)
return {'opened'}
