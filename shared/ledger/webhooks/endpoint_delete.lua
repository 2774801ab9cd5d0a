-- endpoint_delete: erase the record of a webhook endpoint, and its place in the list of its tenant.
-- Returns 1, 0 where there is none, or 'stale' where its version is not among those expected.
-- KEYS endpoint endpoints
-- ARGV id versions(JSON list, or '' for any)
local endpoint, listed = KEYS[1], KEYS[2]
if ARGV[2] ~= '' and redis.call('EXISTS', endpoint) == 1 then
  local version, expected = tonumber(redis.call('HGET', endpoint, 'version')), false
  for _, each in ipairs(cjson.decode(ARGV[2])) do expected = expected or each == version end
  if not expected then return 'stale' end
end
redis.call('ZREM', listed, ARGV[1])
return redis.call('DEL', endpoint)
