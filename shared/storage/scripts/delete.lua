#!lua flags=allow-oom
-- delete: nothing of the job is left. Answers 0 where there was none.
-- KEYS job
-- ARGV prefix id
return erase(ARGV[2])
