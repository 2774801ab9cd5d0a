-- endpoint_delete: erase the record of a webhook endpoint and its entry in the list of its tenant.
-- Returns 1, 0 if it does not exist, or 'stale' if its version is not among those expected.
-- KEYS endpoint endpoints
-- ARGV id versions(JSON list, or '' for any)
local endpoint, endpoints, id, versions = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
if versions ~= '' and redis.call('EXISTS', endpoint) == 1 then
  local version, expected = tonumber(redis.call('HGET', endpoint, 'version')), false
  for _, each in ipairs(cjson.decode(versions)) do expected = expected or each == version end
  if not expected then return 'stale' end
end
redis.call('ZREM', endpoints, id)
return redis.call('DEL', endpoint)
