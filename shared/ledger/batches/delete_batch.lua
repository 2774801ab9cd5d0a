#!lua flags=allow-oom
-- delete_batch: nothing of the batch and its jobs is left. Answers 0 where there was none.
-- KEYS batch
-- ARGV prefix id tenant
if redis.call('EXISTS', KEYS[1]) == 0 or owner(KEYS[1]) ~= ARGV[3] then return 0 end
telling.batch = false
local digest = redis.call('HGET', KEYS[1], 'idempotency')
local list = prefix .. 'batch_jobs:' .. ARGV[2]
for _, id in ipairs(redis.call('LRANGE', list, 0, -1)) do erase(id) end
redis.call('DEL', KEYS[1], list)
if digest then redis.call('DEL', prefix .. 'idempotency:' .. digest) end
redis.call('PUBLISH', prefix .. 'completions', ARGV[2] .. ' deleted')
return 1
