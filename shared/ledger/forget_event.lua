#!lua flags=allow-oom
-- forget_event: erase every trace of an event, its deliveries and their attempts. Deliveries in progress end unrecorded.
-- KEYS event
-- ARGV prefix
local event = KEYS[1]
for id in string.gmatch(redis.call('HGET', event, 'deliveries') or '', '%S+') do
  local destination = redis.call('HGET', prefix .. 'delivery:' .. id, 'destination')
  if destination then
    for _, set in ipairs({'queue:', 'flying:', 'log:'}) do redis.call('ZREM', prefix .. set .. destination, id) end
    if redis.call('EXISTS', prefix .. 'queue:' .. destination, prefix .. 'flying:' .. destination) == 0 then
      redis.call('ZREM', prefix .. 'due', destination)
    end
  end
  redis.call('DEL', prefix .. 'delivery:' .. id, prefix .. 'attempts:' .. id)
end
return redis.call('DEL', event)
