-- retry: create a new job for a failed one, with the images kept for it. Repeated calls return the same new job.
-- KEYS job
-- ARGV prefix id new_id tenant most age grant(JSON) context(JSON) field_to_take_over...
local id, new = ARGV[2], ARGV[3]
local old = redis.call('HMGET', KEYS[1], 'status', 'error', 'retried_as')
if not old[1] or owner(KEYS[1]) ~= ARGV[4] then return {'none'} end
if old[3] then return {'known', old[3]} end
if old[1] ~= 'failed' then return {'not_failed', old[1]} end
if not cjson.decode(old[2]).retryable then return {'final'} end
if redis.call('EXISTS', prefix .. 'image:' .. id, prefix .. 'urls:' .. id) == 0 then return {'gone'} end
local full = refusal(ARGV[5], ARGV[6], ARGV[7], 1)
if full then return full end
for _, kind in ipairs(MATERIAL) do
  if redis.call('EXISTS', prefix .. kind .. id) == 1 then
    redis.call('RENAME', prefix .. kind .. id, prefix .. kind .. new)
    redis.call('PERSIST', prefix .. kind .. new)
  end
end
local fields = cjson.decode(ARGV[8])
fields.id, fields.retry_of = new, id
for at = 9, #ARGV do fields[ARGV[at]] = redis.call('HGET', KEYS[1], ARGV[at]) or nil end
admit({fields = fields}, 0)
redis.call('HSET', KEYS[1], 'retried_as', new)
return {'accepted', new}
