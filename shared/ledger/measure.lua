#!lua flags=no-writes
-- measure: return queue lengths and waiting times, the numbers of running jobs and deliveries, and event counters.
-- KEYS queue
-- ARGV prefix most_destinations
local queue, most_destinations = KEYS[1], tonumber(ARGV[2])
local jobs, oldest = {}, {}
for name, band in pairs(BANDS) do
  local low, high = band * BAND, '(' .. (band + 1) * BAND
  jobs[name] = redis.call('ZCOUNT', queue, low, high)
  local first = redis.call('ZRANGE', queue, low, high, 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
  oldest[name] = first[2] and math.max(0, now - (first[2] - low)) or 0
end
jobs.fetch = redis.call('ZCARD', prefix .. 'fetch')
local first = redis.call('ZRANGE', prefix .. 'fetch', 0, 0)[1]
oldest.fetch = first and math.max(0, now - (redis.call('HGET', prefix .. 'job:' .. first, 'created_at') or now)) or 0
local deliveries, resting = 0, 0
for _, name in ipairs(redis.call('ZRANGE', prefix .. 'due', 0, most_destinations - 1)) do
  deliveries = deliveries + redis.call('ZCARD', prefix .. 'queue:' .. name)
    + redis.call('ZCARD', prefix .. 'flying:' .. name)
  local open_until = tonumber(redis.call('HGET', prefix .. 'destination:' .. name, 'open_until') or 0)
  if open_until > now then resting = resting + 1 end
end
local flat, counts = redis.call('HGETALL', prefix .. 'counts'), {}
for at = 1, #flat, 2 do counts[flat[at]] = tonumber(flat[at + 1]) end
return cjson.encode({jobs = jobs, oldest = oldest, running = redis.call('ZCARD', prefix .. 'leases'),
  outbox = redis.call('LLEN', prefix .. 'outbox'), destinations = redis.call('ZCARD', prefix .. 'due'),
  deliveries = deliveries, resting = resting, counts = counts})
