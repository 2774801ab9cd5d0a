-- common: functions of the ledger's scripts, prepended to every script of a shard. ARGV[1] is the shard's prefix.
local prefix = ARGV[1]
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local BAND = 1e10  -- distance of two priorities in the queue, in seconds: larger than any clock time
local BANDS = {high = 0, normal = 1, low = 2}
-- Inputs of a job: erased when the job ends, or kept for a retry.
local MATERIAL = {'image:', 'reference:', 'extra_images:', 'embeddings:', 'urls:'}
local KEY_KEPT = 86400  -- seconds: minimum lifetime of an idempotency key
local notify = {job = true, batch = true}  -- false while one is erased: leave no trace of it

-- Return the tenant of a record, or false if there is no such record.
local function owner(key) return redis.call('HGET', key, 'tenant') end

local function stamp(at) return string.format('%.6f', at) end

-- Count an event since the creation of the store. The code alone bounds the set of names.
local function count(what) redis.call('HINCRBY', prefix .. 'counts', what, 1) end

-- The only place where the status of a job changes: record, history, index, batch and the channel of transitions.
-- `index_key` is its status in the index, or `dead` for dead letters among failed jobs; each tenant has its own keys.
local function move(id, to, index_key)
  local job = prefix .. 'job:' .. id
  local from, old_index_key, operation, created_at, batch_id, history, tenant = unpack(redis.call('HMGET', job, 'status',
    'index_key', 'operation', 'created_at', 'batch', 'history', 'tenant'))
  index_key = (index_key or to) .. ':' .. operation .. ':' .. tenant
  if old_index_key then redis.call('ZREM', prefix .. 'index:' .. old_index_key, id) end
  redis.call('ZADD', prefix .. 'index:' .. index_key, created_at, id)
  redis.call('HSET', job, 'status', to, 'index_key', index_key, 'history', (history or '') .. to .. ' ' .. stamp(now) .. ';')
  if batch_id then
    local batch = prefix .. 'batch:' .. batch_id
    if from then redis.call('HINCRBY', batch, from, -1) end
    redis.call('HINCRBY', batch, to, 1)
  end
  redis.call('PUBLISH', prefix .. 'transitions', id .. ' ' .. to)
  return index_key
end

-- Queue a job for a worker at the place it got on acceptance, in the queue of all tenants and in that of its tenant.
local function enqueue(id)
  local place, start_by, tenant = unpack(redis.call('HMGET', prefix .. 'job:' .. id, 'line', 'start_by', 'tenant'))
  redis.call('ZADD', prefix .. 'queue', place, id)
  redis.call('ZADD', prefix .. 'queue:' .. tenant, place, id)
  redis.call('ZADD', prefix .. 'queued_tenants', 'NX', now, tenant)
  if start_by then redis.call('ZADD', prefix .. 'deadlines', start_by, id) end
end

-- Append an outbox row. It is self-contained because its subject may be gone by delivery time.
-- `webhook` is the address submitted with the subject; registered endpoints of its tenant subscribe to the type.
local function enqueue_event(row, webhook)
  if webhook or redis.call('EXISTS', prefix .. 'listeners:' .. row.type .. ':' .. row.tenant) == 1 then
    row.at, row.webhook = stamp(now), webhook or nil
    redis.call('RPUSH', prefix .. 'outbox', cjson.encode(row))
    redis.call('PUBLISH', prefix .. 'outbox_signal', row.type)
  end
end

-- Start the expiry of an idempotency key whose job or batch is complete.
local function expire_key(digest, ttl, accepted_at)
  if digest then
    redis.call('EXPIRE', prefix .. 'idempotency:' .. digest, math.max(ttl, math.ceil(KEY_KEPT - (now - accepted_at))))
  end
end

-- Count a completed job of a batch; the last one completes the batch.
local function complete_item(batch)
  local key = prefix .. 'batch:' .. batch
  if redis.call('EXISTS', key) == 0 or redis.call('HINCRBY', key, 'left', -1) > 0 then return end
  local ttl, idempotency, created_at = unpack(redis.call('HMGET', key, 'ttl', 'idempotency', 'created_at'))
  ttl = tonumber(ttl)
  redis.call('HSET', key, 'status', 'completed', 'finished_at', stamp(now), 'expires_at', stamp(now + ttl))
  redis.call('EXPIRE', key, ttl)
  redis.call('EXPIRE', prefix .. 'batch_jobs:' .. batch, ttl)
  expire_key(idempotency, ttl, created_at)
  if notify.batch then
    local webhook, total, succeeded, failed, canceled, expired, tenant, request_id, traceparent = unpack(redis.call('HMGET',
      key, 'webhook', 'total', 'succeeded', 'failed', 'canceled', 'expired', 'tenant', 'request_id', 'traceparent'))
    enqueue_event({id = batch, type = 'batch.completed', tenant = tenant, request_id = request_id or nil,
      traceparent = traceparent or nil, total = tonumber(total), counts = {
      succeeded = tonumber(succeeded or 0), failed = tonumber(failed or 0), canceled = tonumber(canceled or 0),
      expired = tonumber(expired or 0)}}, webhook)
  end
  redis.call('PUBLISH', prefix .. 'completions', batch .. ' completed')
end

-- The only place where a job reaches a terminal state. `more` holds additional fields of the record, alternating name
-- and value. Images are kept for `keep_seconds` for a retry. Jobs of a session notify no endpoint and keep no image.
local function conclude(id, to, more, keep_seconds, dead)
  local job = prefix .. 'job:' .. id
  local ttl, webhook, batch, idempotency, created_at, operation, tenant, request_id, traceparent, session = unpack(
    redis.call('HMGET', job, 'ttl', 'webhook', 'batch', 'idempotency', 'created_at', 'operation', 'tenant', 'request_id',
      'traceparent', 'session'))
  ttl = tonumber(ttl)
  if session then keep_seconds = 0 end
  local event = {id = id, type = 'job.' .. to, operation = operation, tenant = tenant, request_id = request_id or nil,
    traceparent = traceparent or nil}
  for at = 1, #more, 2 do
    if more[at] == 'error' and more[at + 1] ~= 'null' then event.code = cjson.decode(more[at + 1]).code end
  end
  local index_key = move(id, to, dead and 'dead' or to)
  redis.call('HSET', job, 'finished_at', stamp(now), 'expires_at', stamp(now + ttl), unpack(more))
  redis.call('HDEL', job, 'token')
  redis.call('EXPIRE', job, ttl)
  for _, set in ipairs({'leases', 'queue', 'queue:' .. tenant, 'deadlines', 'fetch'}) do
    redis.call('ZREM', prefix .. set, id)
  end
  for _, kind in ipairs(MATERIAL) do
    if keep_seconds > 0 then redis.call('EXPIRE', prefix .. kind .. id, math.min(keep_seconds, ttl))
    else redis.call('DEL', prefix .. kind .. id) end
  end
  redis.call('ZADD', prefix .. 'expiry', now + ttl, index_key .. ':' .. id)
  expire_key(idempotency, ttl, created_at)
  count('ended ' .. operation .. ' ' .. to .. ' ' .. (event.code or ''))
  local bucket = prefix .. 'ended:' .. math.floor(now / 5)
  redis.call('INCR', bucket)
  redis.call('EXPIRE', bucket, 60)
  if notify.job and not session then enqueue_event(event, webhook) end
  redis.call('PUBLISH', prefix .. 'completions', id .. ' ' .. to)
  if batch then complete_item(batch) end
end

-- Erase every trace of a job, and notify its worker and those who wait for it.
local function erase(id)
  local job = prefix .. 'job:' .. id
  local status, idempotency, index_key = unpack(redis.call('HMGET', job, 'status', 'idempotency', 'index_key'))
  if not status then return 0 end
  if status == 'queued' or status == 'running' then
    local notify_job = notify.job
    notify.job = false
    conclude(id, 'canceled', {}, 0)
    notify.job = notify_job
    index_key = redis.call('HGET', job, 'index_key')
    if status == 'running' then redis.call('PUBLISH', prefix .. 'cancels', id) end
  end
  redis.call('ZREM', prefix .. 'index:' .. index_key, id)
  redis.call('ZREM', prefix .. 'expiry', index_key .. ':' .. id)
  redis.call('DEL', job)
  for _, kind in ipairs(MATERIAL) do redis.call('DEL', prefix .. kind .. id) end
  if idempotency then redis.call('DEL', prefix .. 'idempotency:' .. idempotency) end
  redis.call('PUBLISH', prefix .. 'completions', id .. ' deleted')
  redis.call('PUBLISH', prefix .. 'transitions', id .. ' deleted')
  return 1
end

-- The only place where a job is created. `job.fields` are the fields of its record, as strings; `place` orders the jobs
-- of one step.
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
    enqueue(job.fields.id)
  end
end

local function depth() return redis.call('ZCARD', prefix .. 'queue') + redis.call('ZCARD', prefix .. 'fetch') end

-- Return why a grant is void: 'tenant' if the tenant was disabled or erased, 'key' if the key was revoked, or false.
-- `grant` holds the marks of `tenant` and optionally `key`, and `since`; without `since` a grant is never void.
local function void(grant)
  if not grant.since then return false end
  local fence = redis.call('GET', prefix .. 'closed:' .. grant.tenant)
  if fence and (fence == 'all' or tonumber(fence) > grant.since) then return 'tenant' end
  return grant.key and redis.call('EXISTS', prefix .. 'closed:' .. grant.key) == 1 and 'key'
end

-- Return why no more work is accepted, or nil: the grant is void; or the tenant's unfinished jobs, with `coming` more,
-- would exceed its quota; or the queue has `most` jobs, or its first job has waited longer than `age` seconds. The last
-- two include the number of jobs that ended in the last half minute.
local function refusal(most, age, grant_json, coming)
  local grant = cjson.decode(grant_json)
  local why = void(grant)
  if why then return {'void', why} end
  if grant.most then
    local unfinished = 0
    for _, index_key in ipairs(grant.index_keys) do
      unfinished = unfinished + redis.call('ZCARD', prefix .. 'index:' .. index_key)
    end
    if unfinished + coming > grant.most then return {'quota', unfinished} end
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

-- `held`: whether `token` still holds the idempotency key. `settle_key`: bind the key to job or batch `id`.
local function held(digest, token)
  return digest == '' or redis.call('GET', prefix .. 'idempotency:' .. digest) == 'receiving ' .. token
end
local function settle_key(digest, id, fingerprint)
  if digest ~= '' then redis.call('SET', prefix .. 'idempotency:' .. digest, id .. ' ' .. fingerprint) end
end
