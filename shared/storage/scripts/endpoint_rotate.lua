-- endpoint_rotate: a new secret for a webhook endpoint; the others end after the overlap at the latest, and those that
-- have ended go. Answers its record, or nothing.
-- KEYS endpoint
-- ARGV secret overlap_seconds
local kept = redis.call('HGET', KEYS[1], 'secrets')
if not kept then return false end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local secrets = {{value = ARGV[1], created_at = now}}
for _, old in ipairs(cjson.decode(kept)) do
  old.expires_at = math.min(old.expires_at or math.huge, now + ARGV[2])
  if old.expires_at > now then secrets[#secrets + 1] = old end
end
redis.call('HSET', KEYS[1], 'secrets', cjson.encode(secrets))
return redis.call('HGETALL', KEYS[1])
