-- endpoint_create: a webhook endpoint on record, unless there are too many. Answers its time of creation, or nothing.
-- KEYS endpoint endpoints tenants fence
-- ARGV id fields(JSON of texts) secret most tenant since
local fence = redis.call('GET', KEYS[4])
if fence and ARGV[6] ~= '' and (fence == 'all' or tonumber(fence) > tonumber(ARGV[6])) then return 'void' end
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[4]) then return false end
local time = redis.call('TIME')
local at = string.format('%.6f', time[1] + time[2] / 1e6)
for name, value in pairs(cjson.decode(ARGV[2])) do redis.call('HSET', KEYS[1], name, value) end
redis.call('HSET', KEYS[1], 'version', 1, 'created_at', at, 'secrets', cjson.encode({{value = ARGV[3], created_at = tonumber(at)}}))
redis.call('ZADD', KEYS[2], at, ARGV[1])
redis.call('SADD', KEYS[3], ARGV[5])
return at
