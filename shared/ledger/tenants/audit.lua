#!lua flags=allow-oom
-- audit: entries at the end of a tenant's audit log; what is older than its time, or beyond its length, goes.
-- KEYS log
-- ARGV most keep_seconds entries(JSON, each a list of names and values by turns)
local time = redis.call('TIME')
for _, entry in ipairs(cjson.decode(ARGV[3])) do redis.call('XADD', KEYS[1], '*', unpack(entry)) end
redis.call('XTRIM', KEYS[1], 'MAXLEN', '~', ARGV[1])
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', (time[1] - ARGV[2]) * 1000))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
