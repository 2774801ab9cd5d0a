-- session_open: a liveness session on record, and its time runs. The same id twice is the same session.
-- KEYS session
-- ARGV prefix fields(JSON of texts) length grant(JSON)
if redis.call('EXISTS', KEYS[1]) == 1 then return {'known'} end
local why = void(cjson.decode(ARGV[4]))
if why then return {'void', why} end
local fields = cjson.decode(ARGV[2])
for name, value in pairs(fields) do redis.call('HSET', KEYS[1], name, value) end
redis.call('HSET', KEYS[1], 'status', 'running', 'version', 0, 'frames', 0, 'created_at', stamp(now), 'ends_at',
  stamp(now + ARGV[3]))
redis.call('ZADD', prefix .. 'sessions', now + ARGV[3], fields.id)
return {'opened'}
