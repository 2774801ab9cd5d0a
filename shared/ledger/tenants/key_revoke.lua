#!lua flags=allow-oom
-- key_revoke: nothing of a key is left. Answers 0 where there was none.
-- KEYS key keys
-- ARGV id
redis.call('ZREM', KEYS[2], ARGV[1])
return redis.call('DEL', KEYS[1])
