-- tenant_change: fields of a tenant set. Answers its record, or nothing where there is no such tenant.
-- KEYS tenant
-- ARGV fields(JSON of texts)
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
for name, value in pairs(cjson.decode(ARGV[1])) do redis.call('HSET', KEYS[1], name, value) end
return redis.call('HGETALL', KEYS[1])
