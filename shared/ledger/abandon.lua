#!lua flags=allow-oom
-- abandon: a submission came to nothing; its key is free again, unless it is another's by now.
-- KEYS idempotency
-- ARGV prefix token
if redis.call('GET', KEYS[1]) ~= 'receiving ' .. ARGV[2] then return 0 end
return redis.call('DEL', KEYS[1])
