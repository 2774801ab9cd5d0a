#!lua flags=allow-oom
-- delete: nothing of the job is left. Answers 0 where there was none.
-- KEYS job
-- ARGV prefix id tenant
if owner(KEYS[1]) ~= ARGV[3] then return 0 end
return erase(ARGV[2])
