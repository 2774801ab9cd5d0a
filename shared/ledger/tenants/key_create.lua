-- key_create: a key on record, for a tenant that is there. Answers its time of creation, or nothing.
-- KEYS key keys tenant
-- ARGV id fields(JSON of texts) known
if ARGV[3] == '0' and redis.call('EXISTS', KEYS[3]) == 0 then return false end
local time = redis.call('TIME')
local at = string.format('%.6f', time[1] + time[2] / 1e6)
for name, value in pairs(cjson.decode(ARGV[2])) do redis.call('HSET', KEYS[1], name, value) end
redis.call('HSET', KEYS[1], 'created_at', at)
redis.call('ZADD', KEYS[2], at, ARGV[1])
return at
