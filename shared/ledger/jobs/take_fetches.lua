#!lua flags=allow-oom
-- take_fetches: take jobs whose images must be fetched, the longest-waiting first. A job that is not completed in time is
-- offered again. A host may use at most as many of the caller's slots as stay free, and a tenant three times as many,
-- so that a tenant's slow hosts leave slots to its other hosts. Returns the jobs, and 1 if so many were skipped that
-- there may be more behind them.
-- KEYS fetch
-- ARGV prefix most hold_seconds held(JSON: number of the caller's jobs by name of host or tenant)
local fetch = KEYS[1]
local most, hold, held = tonumber(ARGV[2]), tonumber(ARGV[3]), cjson.decode(ARGV[4])
local EXAMINED = 1000  -- jobs examined in one step
local KEPT = 200  -- skipped jobs that keep their place; the others are postponed in favor of those behind them
local LATER = 1  -- seconds by which they are postponed
local taken, skipped = {}, {}

local function within_share(names)
  local free = most - #taken
  for at, name in ipairs(names) do
    if (held[name] or 0) >= (at == 1 and 3 or 1) * free then return false end
  end
  return true
end

-- If the server's clock was set back, shorten holds to their full length from now.
for _, id in ipairs(redis.call('ZRANGE', fetch, '(' .. stamp(now + hold), '+inf', 'BYSCORE', 'LIMIT', 0, EXAMINED)) do
  redis.call('ZADD', fetch, 'XX', stamp(now + hold), id)
end
local due = redis.call('ZRANGE', fetch, '-inf', now, 'BYSCORE', 'LIMIT', 0, EXAMINED)
for _, id in ipairs(due) do
  if #taken >= most then break end
  local tenant, image_origin, reference_origin, request_id, traceparent = unpack(redis.call('HMGET', prefix .. 'job:' .. id,
    'tenant', 'image_origin', 'reference_origin', 'request_id', 'traceparent'))
  local names = {'tenant ' .. tenant}
  if image_origin then names[#names + 1] = 'host ' .. image_origin end
  if reference_origin then names[#names + 1] = 'host ' .. reference_origin end
  if within_share(names) then
    local urls = redis.call('HMGET', prefix .. 'urls:' .. id, 'image', 'reference')
    for _, name in ipairs(names) do held[name] = (held[name] or 0) + 1 end
    redis.call('ZADD', fetch, now + hold, id)
    taken[#taken + 1] = {id, urls[1], urls[2], request_id, traceparent, unpack(names)}
  else
    skipped[#skipped + 1] = id
  end
end
local more = #taken < most and #due == EXAMINED
if more then
  for at = KEPT + 1, #skipped do redis.call('ZADD', fetch, now + LATER, skipped[at]) end
end
return {taken, more and 1 or 0}
