-- endpoint_rotate: add a secret to a webhook endpoint. The others end after the overlap at the latest; those that have
-- ended are dropped, and so are the oldest beyond the limit. Returns the record, or nothing where there is none.
-- KEYS endpoint
-- ARGV secret overlap_seconds limit
local kept = redis.call('HGET', KEYS[1], 'secrets')
if not kept then return false end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local secrets = {{value = ARGV[1], created_at = now}}
for _, old in ipairs(cjson.decode(kept)) do
  old.expires_at = math.min(old.expires_at or math.huge, now + ARGV[2])
  if old.expires_at > now and #secrets < tonumber(ARGV[3]) then secrets[#secrets + 1] = old end
end
redis.call('HSET', KEYS[1], 'secrets', cjson.encode(secrets))
redis.call('HINCRBY', KEYS[1], 'version', 1)
return redis.call('HGETALL', KEYS[1])
