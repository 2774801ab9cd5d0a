#!lua flags=allow-oom
-- take_fetches: jobs whose images are to be fetched; each is offered again where nothing comes of it in time.
-- KEYS fetch
-- ARGV prefix most hold_seconds
local taken = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[2]))) do
  redis.call('ZADD', KEYS[1], now + ARGV[3], id)
  taken[#taken + 1] = {id, unpack(redis.call('HMGET', prefix .. 'urls:' .. id, 'image', 'reference'))}
end
return taken
