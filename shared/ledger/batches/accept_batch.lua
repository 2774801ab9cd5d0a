-- accept_batch: all jobs of a batch in one step. Their images were put there before, to go by themselves unless kept now.
-- KEYS batch
-- ARGV prefix id fields(JSON) jobs(JSON) most age grant(JSON) digest token fingerprint
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'known', redis.call('HGET', KEYS[1], 'created_at'), depth()}
end
if not held(ARGV[8], ARGV[9]) then return {'lost'} end
local jobs = cjson.decode(ARGV[4])
local full = refusal(ARGV[5], ARGV[6], ARGV[7], #jobs)
if full then return full end
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
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'status', 'running', 'created_at', stamp(now), 'total', #jobs, 'left', #jobs,
  unpack(fields))
if ARGV[8] ~= '' then redis.call('HSET', KEYS[1], 'idempotency', ARGV[8]) end
settle_key(ARGV[8], ARGV[2], ARGV[10])  -- first: with items that are all refused the batch ends right here
for place, job in ipairs(jobs) do
  for _, kind in ipairs(job.staged) do redis.call('PERSIST', prefix .. kind .. ':' .. job.fields.id) end
  job.fields.batch = ARGV[2]
  redis.call('RPUSH', prefix .. 'batch_jobs:' .. ARGV[2], job.fields.id)
  admit(job, place)
end
return {'accepted', stamp(now), depth()}
