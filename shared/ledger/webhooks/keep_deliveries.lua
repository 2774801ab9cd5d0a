#!lua flags=allow-oom
-- keep_deliveries: a courier is alive; its holds run anew. What is no longer this token's is another's, and stays so.
-- A destination's place among the due ones is not moved: whoever looks there too early finds it held and puts it right.
-- KEYS due
-- ARGV prefix hold_seconds (id token)*
for at = 3, #ARGV, 2 do
  local known = redis.call('HMGET', prefix .. 'delivery:' .. ARGV[at], 'token', 'destination')
  if known[1] == ARGV[at + 1] then
    redis.call('ZADD', prefix .. 'flying:' .. known[2], 'XX', now + ARGV[2], ARGV[at])
  end
end
return 1
