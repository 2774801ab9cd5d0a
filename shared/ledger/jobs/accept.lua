-- accept: store and queue a job in one step. Submitting the same id twice creates one job.
-- KEYS job
-- ARGV prefix job(JSON) most age grant(JSON) digest token fingerprint image reference extra_image...
local key = KEYS[1]
local job, most, age, grant = cjson.decode(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local digest, token, fingerprint = ARGV[6], ARGV[7], ARGV[8]
local image, reference = ARGV[9], ARGV[10]
local id = job.fields.id
if redis.call('EXISTS', key) == 1 then return {'known', redis.call('HGET', key, 'created_at'), depth()} end
if not held(digest, token) then return {'lost'} end
local refused = refusal(most, age, grant, 1)
if refused then return refused end
if digest ~= '' then job.fields.idempotency = digest end
if image ~= '' then redis.call('SET', prefix .. 'image:' .. id, image) end
if reference ~= '' then redis.call('SET', prefix .. 'reference:' .. id, reference) end
for at = 11, #ARGV do redis.call('RPUSH', prefix .. 'extra_images:' .. id, ARGV[at]) end
admit(job, 0)
settle_key(digest, id, fingerprint)
return {'accepted', redis.call('HGET', key, 'created_at'), depth()}
