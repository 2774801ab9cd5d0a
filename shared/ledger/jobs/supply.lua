-- supply: the images of a job have been fetched, their addresses are forgotten; it is in line for a worker. Answers 0 where it waits for none.
-- KEYS fetch
-- ARGV prefix id image reference
if redis.call('ZREM', KEYS[1], ARGV[2]) == 0 then return 0 end
if ARGV[3] ~= '' then redis.call('SET', prefix .. 'image:' .. ARGV[2], ARGV[3]) end
if ARGV[4] ~= '' then redis.call('SET', prefix .. 'reference:' .. ARGV[2], ARGV[4]) end
redis.call('DEL', prefix .. 'urls:' .. ARGV[2])
line_up(ARGV[2])
return 1
