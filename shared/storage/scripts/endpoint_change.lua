-- endpoint_change: fields of a webhook endpoint set, removed, or set to this moment. Answers its record, or nothing.
-- KEYS endpoint
-- ARGV set(JSON of texts) removed(JSON list) stamped(JSON list)
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local time = redis.call('TIME')
for name, value in pairs(cjson.decode(ARGV[1])) do redis.call('HSET', KEYS[1], name, value) end
for _, name in ipairs(cjson.decode(ARGV[2])) do redis.call('HDEL', KEYS[1], name) end
for _, name in ipairs(cjson.decode(ARGV[3])) do
  redis.call('HSET', KEYS[1], name, string.format('%.6f', time[1] + time[2] / 1e6))
end
return redis.call('HGETALL', KEYS[1])
