-- tenant_create: a tenant on record, unless it is there. Answers its time of creation, or nothing.
-- KEYS tenant tenants
-- ARGV id fields(JSON of texts)
if redis.call('EXISTS', KEYS[1]) == 1 then return false end
local time = redis.call('TIME')
local at = string.format('%.6f', time[1] + time[2] / 1e6)
for name, value in pairs(cjson.decode(ARGV[2])) do redis.call('HSET', KEYS[1], name, value) end
redis.call('HSET', KEYS[1], 'version', 1, 'id', ARGV[1], 'created_at', at)
redis.call('ZADD', KEYS[2], at, ARGV[1])
return at
