#!lua flags=allow-oom
-- forget_event: nothing is left of an event, its deliveries and their attempts; those in hand end unrecorded.
-- KEYS event
-- ARGV prefix
for id in string.gmatch(redis.call('HGET', KEYS[1], 'deliveries') or '', '%S+') do
  local name = redis.call('HGET', prefix .. 'delivery:' .. id, 'destination')
  if name then
    for _, line in ipairs({'queue:', 'flying:', 'log:'}) do redis.call('ZREM', prefix .. line .. name, id) end
    if redis.call('EXISTS', prefix .. 'queue:' .. name, prefix .. 'flying:' .. name) == 0 then
      redis.call('ZREM', prefix .. 'due', name)
    end
  end
  redis.call('DEL', prefix .. 'delivery:' .. id, prefix .. 'attempts:' .. id)
end
return redis.call('DEL', KEYS[1])
