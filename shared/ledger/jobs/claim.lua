#!lua flags=allow-oom
-- claim: give the first queued job to one worker, with a lease and a fencing token. Runs even if memory is full: only
-- finished work frees memory. Priority is high, normal, low, except that of eight turns one starts with low and one with
-- normal. Jobs past their deadline expire.
-- Tenants with queued jobs take turns, the least recently served first: a long queue delays only its own tenant.
-- One turn of eight uses the queue of all tenants.
-- A job that lost a worker before is given only to a worker that runs nothing else; others receive 'alone'.
-- A job of an operation that the worker does not know waits for a newer worker, and delays no other job.
-- KEYS queue
-- ARGV prefix worker lease_seconds alone operation...
if redis.call('ZCARD', KEYS[1]) == 0 then return false end
local worker, lease_seconds, alone = ARGV[2], ARGV[3], ARGV[4] == '1'
local supported = {}
for at = 5, #ARGV do supported[ARGV[at]] = true end
local turn = redis.call('INCR', prefix .. 'turns') % 8
local order = turn == 0 and {2, 1, 0} or turn == 4 and {1, 0, 2} or {0, 1, 2}

-- Claim the first job of a queue that can be taken. Returns nil if there is none.
local function first_of(queue)
  for _, band in ipairs(order) do
    local passed = 0
    while true do
      local id = redis.call('ZRANGE', queue, band * BAND, '(' .. (band + 1) * BAND, 'BYSCORE', 'LIMIT', passed, 1)[1]
      if not id then break end
      local job = prefix .. 'job:' .. id
      local attempts, status, start_by, operation, tenant = unpack(
        redis.call('HMGET', job, 'attempts', 'status', 'start_by', 'operation', 'tenant'))
      if status ~= 'queued' then
        redis.call('ZREM', queue, id)
        redis.call('ZREM', KEYS[1], id)
      elseif start_by and tonumber(start_by) <= now then
        conclude(id, 'expired', {}, 0)
      elseif not supported[operation] then
        passed = passed + 1
      elseif not alone and tonumber(attempts) > 0 then
        return {'alone'}
      else
        redis.call('ZREM', KEYS[1], id)
        redis.call('ZREM', prefix .. 'queue:' .. tenant, id)
        redis.call('ZADD', prefix .. 'queued_tenants', now, tenant)
        if start_by then redis.call('ZREM', prefix .. 'deadlines', id) end
        redis.call('HINCRBY', job, 'attempts', 1)
        -- Counts every claim, including released ones, so that no token is used twice.
        local token = worker .. ':' .. redis.call('HINCRBY', job, 'claims', 1)
        redis.call('HSET', job, 'token', token, 'lease', lease_seconds, 'started_at', stamp(now))
        move(id, 'running')
        count('started ' .. operation)
        redis.call('ZADD', prefix .. 'leases', now + lease_seconds, id)
        return {token, redis.call('HGETALL', job),
          redis.call('GET', prefix .. 'image:' .. id), redis.call('GET', prefix .. 'reference:' .. id),
          redis.call('LRANGE', prefix .. 'extra_images:' .. id, 0, -1), redis.call('GET', prefix .. 'embeddings:' .. id)}
      end
    end
  end
end

if turn ~= 2 then
  for _, tenant in ipairs(redis.call('ZRANGE', prefix .. 'queued_tenants', 0, -1)) do
    local queue = prefix .. 'queue:' .. tenant
    local claim = first_of(queue)
    if redis.call('EXISTS', queue) == 0 then redis.call('ZREM', prefix .. 'queued_tenants', tenant) end
    if claim then return claim end
  end
end
return first_of(KEYS[1]) or false
