-- accept_batch: store and queue all jobs of a batch in one step. Their images were staged before; accepting the batch
-- keeps them, otherwise they expire.
-- KEYS batch
-- ARGV prefix id fields(JSON) jobs(JSON) most age grant(JSON) digest token fingerprint
local batch, id, jobs = KEYS[1], ARGV[2], cjson.decode(ARGV[4])
local most, age, grant = ARGV[5], ARGV[6], ARGV[7]
local digest, token, fingerprint = ARGV[8], ARGV[9], ARGV[10]
if redis.call('EXISTS', batch) == 1 then return {'known', redis.call('HGET', batch, 'created_at'), depth()} end
if not held(digest, token) then return {'lost'} end
local refused = refusal(most, age, grant, #jobs)
if refused then return refused end
for _, job in ipairs(jobs) do
  for _, kind in ipairs(job.staged) do
    if redis.call('EXISTS', prefix .. kind .. ':' .. job.fields.id) == 0 then return {'unstaged'} end
  end
end
local fields = {}
for name, value in pairs(cjson.decode(ARGV[3])) do
  fields[#fields + 1] = name
  fields[#fields + 1] = value
end
redis.call('HSET', batch, 'id', id, 'status', 'running', 'created_at', stamp(now), 'total', #jobs, 'left', #jobs,
  unpack(fields))
if digest ~= '' then redis.call('HSET', batch, 'idempotency', digest) end
settle_key(digest, id, fingerprint)  -- before the jobs: if all items are invalid, the batch completes right here
for place, job in ipairs(jobs) do
  for _, kind in ipairs(job.staged) do redis.call('PERSIST', prefix .. kind .. ':' .. job.fields.id) end
  job.fields.batch = id
  redis.call('RPUSH', prefix .. 'batch_jobs:' .. id, job.fields.id)
  admit(job, place)
end
return {'accepted', stamp(now), depth()}
