-- endpoint_rotate: add a secret to a webhook endpoint. The others expire after the overlap at the latest. Expired secrets
-- and the oldest beyond the limit are dropped. Returns the record, or nothing if the endpoint does not exist.
-- KEYS endpoint
-- ARGV secret overlap_seconds limit
local endpoint, secret, overlap_seconds, limit = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local old_secrets = redis.call('HGET', endpoint, 'secrets')
if not old_secrets then return false end
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local secrets = {{value = secret, created_at = now}}
for _, old in ipairs(cjson.decode(old_secrets)) do
  old.expires_at = math.min(old.expires_at or math.huge, now + overlap_seconds)
  if old.expires_at > now and #secrets < limit then secrets[#secrets + 1] = old end
end
redis.call('HSET', endpoint, 'secrets', cjson.encode(secrets))
redis.call('HINCRBY', endpoint, 'version', 1)
return redis.call('HGETALL', endpoint)
