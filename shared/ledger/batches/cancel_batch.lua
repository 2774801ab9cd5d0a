#!lua flags=allow-oom
-- cancel_batch: cancel every unfinished job of a batch. Returns 0 if the batch does not exist.
-- KEYS batch
-- ARGV prefix id tenant
local batch, batch_id, tenant = KEYS[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', batch) == 0 or owner(batch) ~= tenant then return 0 end
for _, id in ipairs(redis.call('LRANGE', prefix .. 'batch_jobs:' .. batch_id, 0, -1)) do
  local status = redis.call('HGET', prefix .. 'job:' .. id, 'status')
  if status == 'queued' or status == 'running' then
    conclude(id, 'canceled', {}, 0)
    if status == 'running' then redis.call('PUBLISH', prefix .. 'cancels', id) end
  end
end
return 1
