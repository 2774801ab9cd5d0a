#!lua flags=allow-oom
-- abandon: release the idempotency key of a submission that was not accepted, unless another one holds it by now.
-- KEYS idempotency
-- ARGV prefix token
local key, token = KEYS[1], ARGV[2]
if redis.call('GET', key) ~= 'receiving ' .. token then return 0 end
return redis.call('DEL', key)
