#!lua flags=allow-oom
-- take_fetches: take jobs whose images must be fetched, the longest-waiting first. A job that is not completed in time is
-- offered again. A host may use at most as many of the caller's places as stay free, and a tenant three times as many,
-- so that a tenant's slow hosts leave places to its other hosts. Returns the jobs, and 1 if so many were skipped that
-- there may be more behind them.
-- KEYS fetch
-- ARGV prefix most hold_seconds held(JSON: jobs in the caller's hands by the name of a host or a tenant)
local most, hold, held = tonumber(ARGV[2]), tonumber(ARGV[3]), cjson.decode(ARGV[4])
local LOOKED = 1000  -- jobs examined in one step
local KEPT = 200  -- skipped jobs that keep their place; the others are postponed to make room for those behind
local LATER = 1  -- seconds by which they are postponed
local taken, passed = {}, {}

local function has_room(names)
  local free = most - #taken
  for at, name in ipairs(names) do
    if (held[name] or 0) >= (at == 1 and 3 or 1) * free then return false end
  end
  return true
end

-- The server's clock was set back: no hold can end later than this.
for _, id in ipairs(redis.call('ZRANGE', KEYS[1], '(' .. stamp(now + hold), '+inf', 'BYSCORE', 'LIMIT', 0, LOOKED)) do
  redis.call('ZADD', KEYS[1], 'XX', stamp(now + hold), id)
end
local due = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, LOOKED)
for _, id in ipairs(due) do
  if #taken >= most then break end
  local job = redis.call('HMGET', prefix .. 'job:' .. id, 'tenant', 'image_origin', 'reference_origin', 'request_id',
    'traceparent')
  local names = {'tenant ' .. job[1]}
  for at = 2, 3 do
    if job[at] then names[#names + 1] = 'host ' .. job[at] end
  end
  if has_room(names) then
    local urls = redis.call('HMGET', prefix .. 'urls:' .. id, 'image', 'reference')
    for _, name in ipairs(names) do held[name] = (held[name] or 0) + 1 end
    redis.call('ZADD', KEYS[1], now + hold, id)
    taken[#taken + 1] = {id, urls[1], urls[2], job[4], job[5], unpack(names)}
  else
    passed[#passed + 1] = id
  end
end
local more = #taken < most and #due == LOOKED
if more then
  for at = KEPT + 1, #passed do redis.call('ZADD', KEYS[1], now + LATER, passed[at]) end
end
return {taken, more and 1 or 0}
