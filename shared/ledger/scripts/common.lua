-- common: what the steps of the ledger share; every script of a shard begins with it. ARGV[1] is the shard's prefix.
local prefix = ARGV[1]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local BAND = 1e10  -- seconds between the places of two priorities in line: more than any clock says
local BANDS = {high = 0, normal = 1, low = 2}
-- What a job works on: erased when it ends, or kept for a retry.
local MATERIAL = {'image:', 'reference:', 'extra_images:', 'embeddings:', 'urls:'}
local KEY_KEPT = 86400  -- seconds that an idempotency key is kept at least
local telling = {job = true, batch = true}  -- false where one is erased: it is to be as if it had never been

-- The tenant of a record; false where there is no such record.
local function owner(key) return redis.call('HGET', key, 'tenant') end

local function stamp(at) return string.format('%.6f', at) end

-- How often something has happened here since the store was made; what is counted is bounded by the code alone.
local function count(what) redis.call('HINCRBY', prefix .. 'counts', what, 1) end

-- A job's status changes here and nowhere else: its record, its history, the index, its batch, the channel of moves.
-- `index_key` is where the index has it: its status, or `dead` for the dead letters among the failed; each tenant has its own.
local function move(id, to, index_key)
  local job = prefix .. 'job:' .. id
  local was = redis.call('HMGET', job, 'status', 'index_key', 'operation', 'created_at', 'batch', 'history', 'tenant')
  index_key = (index_key or to) .. ':' .. was[3] .. ':' .. was[7]
  if was[2] then redis.call('ZREM', prefix .. 'index:' .. was[2], id) end
  redis.call('ZADD', prefix .. 'index:' .. index_key, was[4], id)
  redis.call('HSET', job, 'status', to, 'index_key', index_key, 'history', (was[6] or '') .. to .. ' ' .. stamp(now) .. ';')
  if was[5] then
    local batch = prefix .. 'batch:' .. was[5]
    if was[1] then redis.call('HINCRBY', batch, was[1], -1) end
    redis.call('HINCRBY', batch, to, 1)
  end
  redis.call('PUBLISH', prefix .. 'transitions', id .. ' ' .. to)
  return index_key
end

-- In line for a worker at the place that it has had since its acceptance: in the line of all, and in its tenant's own.
local function line_up(id)
  local job = redis.call('HMGET', prefix .. 'job:' .. id, 'line', 'start_by', 'tenant')
  local place, start_by, tenant = job[1], job[2], job[3]
  redis.call('ZADD', prefix .. 'queue', place, id)
  redis.call('ZADD', prefix .. 'queue:' .. tenant, place, id)
  redis.call('ZADD', prefix .. 'queued_tenants', 'NX', now, tenant)
  if start_by then redis.call('ZADD', prefix .. 'deadlines', start_by, id) end
end

-- Somebody is to be told: a row of the outbox that needs nothing else to be read, since its subject may be gone by then.
-- `webhook` is the address that came with the subject; registered endpoints of its tenant listen to the type.
local function enqueue_event(row, webhook)
  if webhook or redis.call('EXISTS', prefix .. 'listeners:' .. row.type .. ':' .. row.tenant) == 1 then
    row.at, row.webhook = stamp(now), webhook or nil
    redis.call('RPUSH', prefix .. 'outbox', cjson.encode(row))
    redis.call('PUBLISH', prefix .. 'outbox_signal', row.type)
  end
end

-- What a key led to has ended: from now on it has a clock.
local function let_key_go(digest, ttl, accepted_at)
  if digest then
    redis.call('EXPIRE', prefix .. 'idempotency:' .. digest, math.max(ttl, math.ceil(KEY_KEPT - (now - accepted_at))))
  end
end

-- One job of a batch has ended; with the last one the batch has.
local function settle(batch)
  local key = prefix .. 'batch:' .. batch
  if redis.call('EXISTS', key) == 0 or redis.call('HINCRBY', key, 'left', -1) > 0 then return end
  local lived = redis.call('HMGET', key, 'ttl', 'idempotency', 'created_at')
  local ttl = tonumber(lived[1])
  redis.call('HSET', key, 'status', 'completed', 'finished_at', stamp(now), 'expires_at', stamp(now + ttl))
  redis.call('EXPIRE', key, ttl)
  redis.call('EXPIRE', prefix .. 'batch_jobs:' .. batch, ttl)
  let_key_go(lived[2], ttl, lived[3])
  if telling.batch then
    local known = redis.call('HMGET', key, 'webhook', 'total', 'succeeded', 'failed', 'canceled', 'expired', 'tenant',
      'request_id', 'traceparent')
    enqueue_event({id = batch, type = 'batch.completed', tenant = known[7], request_id = known[8] or nil,
      traceparent = known[9] or nil, total = tonumber(known[2]), counts = {
      succeeded = tonumber(known[3] or 0), failed = tonumber(known[4] or 0), canceled = tonumber(known[5] or 0),
      expired = tonumber(known[6] or 0)}}, known[1])
  end
  redis.call('PUBLISH', prefix .. 'completions', batch .. ' completed')
end

-- A job ends here and nowhere else. `more` holds further fields of its record, by turns name and value; for `keep`
-- seconds its images stay, for a retry. A frame or reference of a session tells no endpoint, and its image never stays.
local function conclude(id, to, more, keep, dead)
  local job = prefix .. 'job:' .. id
  local known = redis.call('HMGET', job, 'ttl', 'webhook', 'batch', 'idempotency', 'created_at', 'operation',
    'tenant', 'request_id', 'traceparent', 'session')
  if known[10] then keep = 0 end
  local ttl = tonumber(known[1])
  local told = {id = id, type = 'job.' .. to, operation = known[6], tenant = known[7],
    request_id = known[8] or nil, traceparent = known[9] or nil}
  for at = 1, #more, 2 do
    if more[at] == 'error' and more[at + 1] ~= 'null' then told.code = cjson.decode(more[at + 1]).code end
  end
  local index_key = move(id, to, dead and 'dead' or to)
  redis.call('HSET', job, 'finished_at', stamp(now), 'expires_at', stamp(now + ttl), unpack(more))
  redis.call('HDEL', job, 'token')
  redis.call('EXPIRE', job, ttl)
  local own = 'queue:' .. known[7]
  for _, line in ipairs({'leases', 'queue', own, 'deadlines', 'fetch'}) do redis.call('ZREM', prefix .. line, id) end
  for _, kind in ipairs(MATERIAL) do
    if keep > 0 then redis.call('EXPIRE', prefix .. kind .. id, math.min(keep, ttl))
    else redis.call('DEL', prefix .. kind .. id) end
  end
  redis.call('ZADD', prefix .. 'expiry', now + ttl, index_key .. ':' .. id)
  let_key_go(known[4], ttl, known[5])
  count('ended ' .. known[6] .. ' ' .. to .. ' ' .. (told.code or ''))
  local bucket = prefix .. 'ended:' .. math.floor(now / 5)
  redis.call('INCR', bucket)
  redis.call('EXPIRE', bucket, 60)
  if telling.job and not known[10] then enqueue_event(told, known[2]) end
  redis.call('PUBLISH', prefix .. 'completions', id .. ' ' .. to)
  if known[3] then settle(known[3]) end
end

-- Nothing of a job is left; whoever works at it or waits for it is told.
local function erase(id)
  local job = prefix .. 'job:' .. id
  local known = redis.call('HMGET', job, 'status', 'idempotency', 'index_key')
  if not known[1] then return 0 end
  if known[1] == 'queued' or known[1] == 'running' then
    local said = telling.job
    telling.job = false
    conclude(id, 'canceled', {}, 0)
    telling.job = said
    known[3] = redis.call('HGET', job, 'index_key')
    if known[1] == 'running' then redis.call('PUBLISH', prefix .. 'cancels', id) end
  end
  redis.call('ZREM', prefix .. 'index:' .. known[3], id)
  redis.call('ZREM', prefix .. 'expiry', known[3] .. ':' .. id)
  redis.call('DEL', job)
  for _, kind in ipairs(MATERIAL) do redis.call('DEL', prefix .. kind .. id) end
  if known[2] then redis.call('DEL', prefix .. 'idempotency:' .. known[2]) end
  redis.call('PUBLISH', prefix .. 'completions', id .. ' deleted')
  redis.call('PUBLISH', prefix .. 'transitions', id .. ' deleted')
  return 1
end

-- A job comes into being here and nowhere else. `job.fields` are those of its record, as texts; `place` tells jobs of
-- one step apart.
local function admit(job, place)
  local created = now + place * 1e-6
  local record = {}
  for name, value in pairs(job.fields) do
    record[#record + 1] = name
    record[#record + 1] = value
  end
  local key = prefix .. 'job:' .. job.fields.id
  if job.embeddings then redis.call('SET', prefix .. 'embeddings:' .. job.fields.id, job.embeddings) end
  redis.call('HSET', key, 'attempts', 0, 'created_at', stamp(created), 'line',
    stamp(BANDS[job.fields.priority] * BAND + created + place * 1e-5), unpack(record))
  count('accepted ' .. job.fields.operation)
  if job.refused then
    conclude(job.fields.id, 'failed', {'error', job.refused}, 0)
    return
  end
  if job.start_within then redis.call('HSET', key, 'start_by', stamp(now + job.start_within)) end
  move(job.fields.id, 'queued')
  local urls = prefix .. 'urls:' .. job.fields.id
  for name, value in pairs(job.urls or {}) do redis.call('HSET', urls, name, value) end
  if redis.call('EXISTS', urls) == 1 then
    redis.call('ZADD', prefix .. 'fetch', now, job.fields.id)
    if job.start_within then redis.call('ZADD', prefix .. 'deadlines', now + job.start_within, job.fields.id) end
  else
    line_up(job.fields.id)
  end
end

local function depth() return redis.call('ZCARD', prefix .. 'queue') + redis.call('ZCARD', prefix .. 'fetch') end

-- Whether what a caller was granted is void by now: its tenant was disabled or erased, or its key revoked.
-- `grant` is a table with the marks of `tenant` and perhaps `key`, and `since`; without `since` nothing is void.
local function void(grant)
  if not grant.since then return false end
  local fence = redis.call('GET', prefix .. 'closed:' .. grant.tenant)
  if fence and (fence == 'all' or tonumber(fence) > grant.since) then return 'tenant' end
  return grant.key and redis.call('EXISTS', prefix .. 'closed:' .. grant.key) == 1 and 'key'
end

-- Returns why no more work is accepted, or nil. The grant is void; or the tenant would have more jobs open than its quota,
-- the `coming` ones included; or the queue is as long as `most`, or its first job has waited longer than `age` seconds. The
-- last comes with the number of jobs that ended in the last half minute.
local function refusal(most, age, granted, coming)
  local grant = cjson.decode(granted)
  local why = void(grant)
  if why then return {'void', why} end
  if grant.most then
    local open = 0
    for _, index_key in ipairs(grant.index_keys) do open = open + redis.call('ZCARD', prefix .. 'index:' .. index_key) end
    if open + coming > grant.most then return {'quota', open} end
  end
  local waiting = depth()
  local oldest = 0
  if waiting > 0 then
    for band = 0, 2 do
      local first = redis.call('ZRANGE', prefix .. 'queue', band * BAND, '(' .. (band + 1) * BAND, 'BYSCORE',
        'LIMIT', 0, 1, 'WITHSCORES')
      if first[2] then oldest = math.max(oldest, now - (first[2] - band * BAND)) end
    end
  end
  if waiting < tonumber(most) and oldest <= tonumber(age) then return nil end
  local ended = 0
  for back = 0, 5 do
    ended = ended + (redis.call('GET', prefix .. 'ended:' .. math.floor(now / 5) - back) or 0)
  end
  return {'full', tostring(waiting), tostring(oldest), tostring(ended)}
end

-- The key of a submission: still this one's to use (its `token` holds it), and from now on that of job or batch `id`.
local function held(digest, token)
  return digest == '' or redis.call('GET', prefix .. 'idempotency:' .. digest) == 'receiving ' .. token
end
local function settle_key(digest, id, fingerprint)
  if digest ~= '' then redis.call('SET', prefix .. 'idempotency:' .. digest, id .. ' ' .. fingerprint) end
end
