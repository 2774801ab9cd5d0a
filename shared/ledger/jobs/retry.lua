-- retry: create a new job for a failed one, with the images kept for it. Repeated calls return the same new job.
-- KEYS job
-- ARGV prefix id new_id tenant most age grant(JSON) context(JSON) field_to_copy...
local job, id, new_id, tenant = KEYS[1], ARGV[2], ARGV[3], ARGV[4]
local most, age, grant, fields = ARGV[5], ARGV[6], ARGV[7], cjson.decode(ARGV[8])
local status, error_json, retried_as = unpack(redis.call('HMGET', job, 'status', 'error', 'retried_as'))
if not status or owner(job) ~= tenant then return {'none'} end
if retried_as then return {'known', retried_as} end
if status ~= 'failed' then return {'not_failed', status} end
if not cjson.decode(error_json).retryable then return {'final'} end
if redis.call('EXISTS', prefix .. 'image:' .. id, prefix .. 'urls:' .. id) == 0 then return {'gone'} end
local refused = refusal(most, age, grant, 1)
if refused then return refused end
for _, kind in ipairs(MATERIAL) do
  if redis.call('EXISTS', prefix .. kind .. id) == 1 then
    redis.call('RENAME', prefix .. kind .. id, prefix .. kind .. new_id)
    redis.call('PERSIST', prefix .. kind .. new_id)
  end
end
fields.id, fields.retry_of = new_id, id
for at = 9, #ARGV do fields[ARGV[at]] = redis.call('HGET', job, ARGV[at]) or nil end
admit({fields = fields}, 0)
redis.call('HSET', job, 'retried_as', new_id)
return {'accepted', new_id}
