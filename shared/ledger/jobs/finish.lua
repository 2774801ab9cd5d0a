#!lua flags=allow-oom
-- finish: write the result once, by the worker that still holds the token, and erase the images in the same step.
-- Returns 0 if another worker holds the job by now.
-- KEYS job
-- ARGV prefix id token status result error metrics provenance cached_as keep_seconds dead
local id, token, status, result, error_json = ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local metrics, provenance, cached_as = ARGV[7], ARGV[8], ARGV[9]
local keep_seconds, dead = tonumber(ARGV[10]), ARGV[11] == '1'
if redis.call('HGET', KEYS[1], 'token') ~= token then return 0 end
local fields = {'result', result, 'error', error_json, 'metrics', metrics, 'provenance', provenance}
if cached_as ~= '' then
  fields[#fields + 1] = 'cached_as'
  fields[#fields + 1] = cached_as
end
conclude(id, status, fields, keep_seconds, dead)
return 1
