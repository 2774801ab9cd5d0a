#!lua flags=allow-oom
-- fan_out: a row of the outbox becomes an event and its deliveries, in one step. Answers 0 where the row is gone.
-- Without a row, an event that nothing ended: a test.
-- KEYS outbox
-- ARGV prefix row event(JSON of texts) deliveries(JSON)
if ARGV[2] ~= '' and redis.call('LREM', KEYS[1], 1, ARGV[2]) == 0 then return 0 end
local plans = cjson.decode(ARGV[4])
if #plans == 0 then return 1 end
local event = cjson.decode(ARGV[3])
local key = prefix .. 'event:' .. event.id
if redis.call('EXISTS', key) == 1 then return 1 end
local ids = {}
for at, one in ipairs(plans) do
  ids[at] = one.id
  plan(one, event.id)
end
for name, value in pairs(event) do redis.call('HSET', key, name, value) end
redis.call('HSET', key, 'deliveries', table.concat(ids, ' '), 'left', #ids)
return 1
