-- key_expire: let an API key expire at a time unless it expires earlier. Returns its record, or nothing.
-- KEYS key
-- ARGV expires_at
local key, expires_at = KEYS[1], ARGV[1]
local id, old_expires_at = unpack(redis.call('HMGET', key, 'id', 'expires_at'))
if not id then return false end
if not old_expires_at or tonumber(old_expires_at) > tonumber(expires_at) then
  redis.call('HSET', key, 'expires_at', expires_at)
end
return redis.call('HGETALL', key)
