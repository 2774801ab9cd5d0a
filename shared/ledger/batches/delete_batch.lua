#!lua flags=allow-oom
-- delete_batch: erase every trace of a batch and its jobs. Returns 0 if the batch does not exist.
-- KEYS batch
-- ARGV prefix id tenant
local batch, batch_id, tenant = KEYS[1], ARGV[2], ARGV[3]
if redis.call('EXISTS', batch) == 0 or owner(batch) ~= tenant then return 0 end
notify.batch = false
local digest = redis.call('HGET', batch, 'idempotency')
local job_ids = prefix .. 'batch_jobs:' .. batch_id
for _, id in ipairs(redis.call('LRANGE', job_ids, 0, -1)) do erase(id) end
redis.call('DEL', batch, job_ids)
if digest then redis.call('DEL', prefix .. 'idempotency:' .. digest) end
redis.call('PUBLISH', prefix .. 'completions', batch_id .. ' deleted')
return 1
