#!lua flags=allow-oom
-- claim: the first job in line goes to one worker, with a lease and a fencing token. Where memory is full as well: only
-- work that ends makes room. High goes before normal before low, but of eight turns one begins with low and one with
-- normal. What waited beyond its deadline expires.
-- The tenants that have something in line take turns, whoever was served longest ago first: a long line holds up its own
-- tenant alone. One turn of eight goes by the line of all.
-- A job that lost a worker before is given only to one that runs nothing beside it; to others the answer is 'alone'.
-- A job of an operation that the worker does not know waits for a newer one, and holds up no other.
-- KEYS queue
-- ARGV prefix worker lease_seconds alone operation...
if redis.call('ZCARD', KEYS[1]) == 0 then return false end
local knows = {}
for at = 5, #ARGV do knows[ARGV[at]] = true end
local turn = redis.call('INCR', prefix .. 'turns') % 8
local order = turn == 0 and {2, 1, 0} or turn == 4 and {1, 0, 2} or {0, 1, 2}

-- The first of a line that can be taken, as an answer; nil where there is none.
local function first_of(line)
  for _, band in ipairs(order) do
    local passed = 0
    while true do
      local id = redis.call('ZRANGE', line, band * BAND, '(' .. (band + 1) * BAND, 'BYSCORE', 'LIMIT', passed, 1)[1]
      if not id then break end
      local job = prefix .. 'job:' .. id
      local found = redis.call('HMGET', job, 'attempts', 'status', 'start_by', 'operation', 'tenant')
      if found[2] ~= 'queued' then
        redis.call('ZREM', line, id)
        redis.call('ZREM', KEYS[1], id)
      elseif found[3] and tonumber(found[3]) <= now then
        conclude(id, 'expired', {}, 0)
      elseif not knows[found[4]] then
        passed = passed + 1
      elseif ARGV[4] == '0' and tonumber(found[1]) > 0 then
        return {'alone'}
      else
        local tenant = found[5]
        redis.call('ZREM', KEYS[1], id)
        redis.call('ZREM', prefix .. 'queue:' .. tenant, id)
        redis.call('ZADD', prefix .. 'queued_tenants', now, tenant)
        if found[3] then redis.call('ZREM', prefix .. 'deadlines', id) end
        redis.call('HINCRBY', job, 'attempts', 1)
        -- Counts every claim, also one that was given back: no token comes twice.
        local token = ARGV[2] .. ':' .. redis.call('HINCRBY', job, 'claims', 1)
        redis.call('HSET', job, 'token', token, 'lease', ARGV[3], 'started_at', stamp(now))
        move(id, 'running')
        count('started ' .. found[4])
        redis.call('ZADD', prefix .. 'leases', now + ARGV[3], id)
        return {token, redis.call('HGETALL', job),
          redis.call('GET', prefix .. 'image:' .. id), redis.call('GET', prefix .. 'reference:' .. id),
          redis.call('LRANGE', prefix .. 'extra_images:' .. id, 0, -1), redis.call('GET', prefix .. 'embeddings:' .. id)}
      end
    end
  end
end

if turn ~= 2 then
  for _, tenant in ipairs(redis.call('ZRANGE', prefix .. 'queued_tenants', 0, -1)) do
    local line = prefix .. 'queue:' .. tenant
    local answer = first_of(line)
    if redis.call('EXISTS', line) == 0 then redis.call('ZREM', prefix .. 'queued_tenants', tenant) end
    if answer then return answer end
  end
end
return first_of(KEYS[1]) or false
