-- accept: record and queue a job in one step. Submitting the same id twice is the same job.
-- KEYS job
-- ARGV prefix job(JSON) most age grant(JSON) digest token fingerprint image reference further_image...
local job = cjson.decode(ARGV[2])
local id = job.fields.id
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'known', redis.call('HGET', KEYS[1], 'created_at'), depth()}
end
if not held(ARGV[6], ARGV[7]) then return {'lost'} end
local full = refusal(ARGV[3], ARGV[4], ARGV[5], 1)
if full then return full end
if ARGV[6] ~= '' then job.fields.idempotency = ARGV[6] end
if ARGV[9] ~= '' then redis.call('SET', prefix .. 'image:' .. id, ARGV[9]) end
if ARGV[10] ~= '' then redis.call('SET', prefix .. 'reference:' .. id, ARGV[10]) end
for at = 11, #ARGV do redis.call('RPUSH', prefix .. 'extra_images:' .. id, ARGV[at]) end
admit(job, 0)
settle_key(ARGV[6], id, ARGV[8])
return {'accepted', redis.call('HGET', KEYS[1], 'created_at'), depth()}
