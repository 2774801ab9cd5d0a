#!lua flags=allow-oom
-- cancel: end a queued or running job now. A worker that runs it is fenced and notified.
-- KEYS job
-- ARGV prefix id tenant
local id, tenant = ARGV[2], ARGV[3]
local status = redis.call('HGET', KEYS[1], 'status')
if not status or owner(KEYS[1]) ~= tenant then return {'none'} end
if status == 'queued' or status == 'running' then
  conclude(id, 'canceled', {}, 0)
  if status == 'running' then redis.call('PUBLISH', prefix .. 'cancels', id) end
elseif status ~= 'canceled' then
  return {'ended', status}
end
return {'canceled', redis.call('HGETALL', KEYS[1])}
