#!lua flags=allow-oom
-- audit: append entries to a tenant's audit log, and trim the log to its maximum age and length.
-- KEYS log
-- ARGV most keep_seconds entries(JSON, each a list of alternating names and values)
local log, most, keep_seconds, entries = KEYS[1], ARGV[1], tonumber(ARGV[2]), cjson.decode(ARGV[3])
local time = redis.call('TIME')
for _, entry in ipairs(entries) do redis.call('XADD', log, '*', unpack(entry)) end
redis.call('XTRIM', log, 'MAXLEN', '~', most)
redis.call('XTRIM', log, 'MINID', '~', string.format('%.0f', (time[1] - keep_seconds) * 1000))
redis.call('EXPIRE', log, keep_seconds)
return 1
