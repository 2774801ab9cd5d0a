-- endpoint_create: store a webhook endpoint. Returns the time of creation, 'void' if the tenant was disabled or erased,
-- or nothing if it has too many endpoints.
-- KEYS endpoint endpoints tenants fence
-- ARGV id fields(JSON of texts) secret most tenant since
local endpoint, endpoints, tenants = KEYS[1], KEYS[2], KEYS[3]
local id, fields, secret, most, tenant, since = ARGV[1], cjson.decode(ARGV[2]), ARGV[3], tonumber(ARGV[4]), ARGV[5], ARGV[6]
local fence = redis.call('GET', KEYS[4])
if fence and since ~= '' and (fence == 'all' or tonumber(fence) > tonumber(since)) then return 'void' end
if redis.call('ZCARD', endpoints) >= most then return false end
local time = redis.call('TIME')
local created_at = string.format('%.6f', time[1] + time[2] / 1e6)
local secrets = cjson.encode({{value = secret, created_at = tonumber(created_at)}})
for name, value in pairs(fields) do redis.call('HSET', endpoint, name, value) end
redis.call('HSET', endpoint, 'version', 1, 'created_at', created_at, 'secrets', secrets)
redis.call('ZADD', endpoints, created_at, id)
redis.call('SADD', tenants, tenant)
return created_at
