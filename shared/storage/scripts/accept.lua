-- accept: queued, on record and in line, in one step. The same id twice is the same job.
-- KEYS job pending image reference
-- ARGV prefix id limit operation params metadata ttl image reference
local depth = redis.call('ZCARD', KEYS[2])
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'known', redis.call('HGET', KEYS[1], 'created_at'), depth}
end
if depth >= tonumber(ARGV[3]) then
  return {'full', '', depth}
end
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
redis.call('HSET', KEYS[1], 'id', ARGV[2], 'status', 'queued', 'operation', ARGV[4], 'params', ARGV[5],
  'metadata', ARGV[6], 'ttl', ARGV[7], 'attempts', 0, 'created_at', now)
if ARGV[8] ~= '' then redis.call('SET', KEYS[3], ARGV[8]) end
if ARGV[9] ~= '' then redis.call('SET', KEYS[4], ARGV[9]) end
redis.call('ZADD', KEYS[2], now, ARGV[2])
redis.call('PUBLISH', ARGV[1] .. 'events', ARGV[2] .. ' queued')
return {'accepted', now, depth + 1}
