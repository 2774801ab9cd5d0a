#!lua flags=allow-oom
-- take_fetches: jobs whose images are to be fetched; each is offered again where nothing comes of it in time.
-- KEYS fetch
-- ARGV prefix most hold_seconds
local taken = {}
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, tonumber(ARGV[2]))) do
  redis.call('ZADD', KEYS[1], now + ARGV[3], id)
  local urls = redis.call('HMGET', prefix .. 'urls:' .. id, 'image', 'reference')
  local cause = redis.call('HMGET', prefix .. 'job:' .. id, 'request_id', 'traceparent')
  taken[#taken + 1] = {id, urls[1], urls[2], cause[1], cause[2]}
end
return taken
