-- retry: a new job for one that failed, with the images that were kept for it; the same new job however often it is asked.
-- KEYS job
-- ARGV prefix id new_id tenant most age grant(JSON) cause(JSON)
local id, new = ARGV[2], ARGV[3]
local old = redis.call('HMGET', KEYS[1], 'status', 'error', 'retried_as', 'operation', 'params', 'metadata', 'ttl',
  'priority', 'webhook', 'image_origin', 'reference_origin', 'tenant')
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
local fields = {id = new, retry_of = id, operation = old[4], params = old[5], metadata = old[6], ttl = old[7],
  priority = old[8] or 'normal'}
for name, value in pairs(cjson.decode(ARGV[8])) do fields[name] = value end
if old[9] then fields.webhook = old[9] end
if old[10] then fields.image_origin = old[10] end
if old[11] then fields.reference_origin = old[11] end
if old[12] then fields.tenant = old[12] end
admit({fields = fields}, 0)
redis.call('HSET', KEYS[1], 'retried_as', new)
return {'accepted', new}
