-- supply: store the fetched images of a job, erase their URLs and queue the job for a worker.
-- Returns 0 if the job does not wait for images.
-- KEYS fetch
-- ARGV prefix id image reference
local id, image, reference = ARGV[2], ARGV[3], ARGV[4]
if redis.call('ZREM', KEYS[1], id) == 0 then return 0 end
if image ~= '' then redis.call('SET', prefix .. 'image:' .. id, image) end
if reference ~= '' then redis.call('SET', prefix .. 'reference:' .. id, reference) end
redis.call('DEL', prefix .. 'urls:' .. id)
enqueue(id)
return 1
