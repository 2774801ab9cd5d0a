#!lua flags=allow-oom
-- cancel_batch: every job of the batch that has not ended is canceled. Answers 0 where there is no such batch.
-- KEYS batch
-- ARGV prefix id tenant
if redis.call('EXISTS', KEYS[1]) == 0 or owner(KEYS[1]) ~= ARGV[3] then return 0 end
for _, id in ipairs(redis.call('LRANGE', prefix .. 'batch_jobs:' .. ARGV[2], 0, -1)) do
  local status = redis.call('HGET', prefix .. 'job:' .. id, 'status')
  if status == 'queued' or status == 'running' then
    conclude(id, 'canceled', {}, 0)
    if status == 'running' then redis.call('PUBLISH', prefix .. 'cancels', id) end
  end
end
return 1
