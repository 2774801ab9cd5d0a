-- key_expire: a key is good until a moment at the latest. Answers its record, or nothing.
-- KEYS key
-- ARGV at
local old = redis.call('HMGET', KEYS[1], 'id', 'expires_at')
if not old[1] then return false end
if not old[2] or tonumber(old[2]) > tonumber(ARGV[1]) then redis.call('HSET', KEYS[1], 'expires_at', ARGV[1]) end
return redis.call('HGETALL', KEYS[1])
