#!lua flags=allow-oom
-- finish: one visible end, written once, by the worker that still holds the token; the images go in the same step.
-- KEYS job
-- ARGV prefix id token status result error metrics provenance cached_as keep_seconds dead
if redis.call('HGET', KEYS[1], 'token') ~= ARGV[3] then return 0 end
local more = {'result', ARGV[5], 'error', ARGV[6], 'metrics', ARGV[7], 'provenance', ARGV[8]}
if ARGV[9] ~= '' then
  more[#more + 1] = 'cached_as'
  more[#more + 1] = ARGV[9]
end
conclude(ARGV[2], ARGV[4], more, tonumber(ARGV[10]), ARGV[11] == '1')
return 1
