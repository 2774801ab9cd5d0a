-- record_change: change named fields of a record in one step, so that concurrent changes do not undo each other.
-- Returns the whole record, 'stale' if its version is not among those expected, or nothing if it does not exist.
-- KEYS record
-- ARGV set(JSON of texts) removed(JSON list) stamped(JSON list) versions(JSON list, or '' for any)
local record = KEYS[1]
local set, removed, stamped, versions = cjson.decode(ARGV[1]), cjson.decode(ARGV[2]), cjson.decode(ARGV[3]), ARGV[4]
if redis.call('EXISTS', record) == 0 then return false end
if versions ~= '' then
  local version, expected = tonumber(redis.call('HGET', record, 'version')), false
  for _, each in ipairs(cjson.decode(versions)) do expected = expected or each == version end
  if not expected then return 'stale' end
end
local time = redis.call('TIME')
for name, value in pairs(set) do redis.call('HSET', record, name, value) end
for _, name in ipairs(removed) do redis.call('HDEL', record, name) end
for _, name in ipairs(stamped) do redis.call('HSET', record, name, string.format('%.6f', time[1] + time[2] / 1e6)) end
redis.call('HINCRBY', record, 'version', 1)
return redis.call('HGETALL', record)
