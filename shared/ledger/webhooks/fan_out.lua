#!lua flags=allow-oom
-- fan_out: turn a row of the outbox into an event and its deliveries in one step. Returns 0 if the row no longer exists.
-- Without a row, create a test event.
-- KEYS outbox
-- ARGV prefix row event(JSON of texts) deliveries(JSON)
local outbox, row, event, plans = KEYS[1], ARGV[2], cjson.decode(ARGV[3]), cjson.decode(ARGV[4])
if row ~= '' and redis.call('LREM', outbox, 1, row) == 0 then return 0 end
if #plans == 0 then return 1 end
local key = prefix .. 'event:' .. event.id
if redis.call('EXISTS', key) == 1 then return 1 end
local ids = {}
for at, plan in ipairs(plans) do
  ids[at] = plan.id
  create_delivery(plan, event.id)
end
for name, value in pairs(event) do redis.call('HSET', key, name, value) end
redis.call('HSET', key, 'deliveries', table.concat(ids, ' '), 'left', #ids)
return 1
