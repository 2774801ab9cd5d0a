#!lua flags=allow-oom
-- cancel: the job ends now, whether it waits or runs; a worker that has it is fenced, and told.
-- KEYS job
-- ARGV prefix id tenant
local status = redis.call('HGET', KEYS[1], 'status')
if not status or owner(KEYS[1]) ~= ARGV[3] then return {'none'} end
if status == 'queued' or status == 'running' then
  conclude(ARGV[2], 'canceled', {}, 0)
  if status == 'running' then redis.call('PUBLISH', prefix .. 'cancels', ARGV[2]) end
elseif status ~= 'canceled' then
  return {'ended', status}
end
return {'canceled', redis.call('HGETALL', KEYS[1])}
