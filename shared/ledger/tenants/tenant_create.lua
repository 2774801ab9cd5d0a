-- tenant_create: store a tenant unless it exists. Returns the time of creation, or nothing.
-- KEYS tenant tenants
-- ARGV id fields(JSON of texts)
local tenant, tenants, id, fields = KEYS[1], KEYS[2], ARGV[1], cjson.decode(ARGV[2])
if redis.call('EXISTS', tenant) == 1 then return false end
local time = redis.call('TIME')
local created_at = string.format('%.6f', time[1] + time[2] / 1e6)
for name, value in pairs(fields) do redis.call('HSET', tenant, name, value) end
redis.call('HSET', tenant, 'version', 1, 'id', id, 'created_at', created_at)
redis.call('ZADD', tenants, created_at, id)
return created_at
