#!lua flags=allow-oom
-- delete: erase every trace of a job. Returns 0 if there is no such job.
-- KEYS job
-- ARGV prefix id tenant
local id, tenant = ARGV[2], ARGV[3]
if owner(KEYS[1]) ~= tenant then return 0 end
return erase(id)
