-- key_create: store an API key if its tenant exists. Returns the time of creation, or nothing.
-- KEYS key keys tenant
-- ARGV id fields(JSON of texts) is_default_tenant
local key, keys, tenant = KEYS[1], KEYS[2], KEYS[3]
local id, fields, is_default_tenant = ARGV[1], cjson.decode(ARGV[2]), ARGV[3] == '1'
if not is_default_tenant and redis.call('EXISTS', tenant) == 0 then return false end
local time = redis.call('TIME')
local created_at = string.format('%.6f', time[1] + time[2] / 1e6)
for name, value in pairs(fields) do redis.call('HSET', key, name, value) end
redis.call('HSET', key, 'created_at', created_at)
redis.call('ZADD', keys, created_at, id)
return created_at
