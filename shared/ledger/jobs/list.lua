#!lua flags=no-writes
-- list: return ids and creation times of the newest jobs under these index keys that are older than a position.
-- KEYS queue
-- ARGV prefix limit created_after before_time before_id index_key...
local limit, created_after, before_time, before_id = tonumber(ARGV[2]), ARGV[3], ARGV[4], ARGV[5]
local position, entries = tonumber(before_time), {}
for arg = 6, #ARGV do
  local offset, taken = 0, 0
  while taken < limit do
    local part = redis.call('ZRANGE', prefix .. 'index:' .. ARGV[arg], before_time, created_after, 'BYSCORE', 'REV',
      'LIMIT', offset, limit, 'WITHSCORES')
    for at = 1, #part, 2 do
      local id, created_at = part[at], part[at + 1]
      if taken < limit and not (tonumber(created_at) == position and id >= before_id) then
        entries[#entries + 1] = {id, created_at}
        taken = taken + 1
      end
    end
    if #part < 2 * limit then break end
    offset = offset + limit
  end
end
table.sort(entries, function(one, other)
  local left, right = tonumber(one[2]), tonumber(other[2])
  if left == right then return one[1] > other[1] end
  return left > right
end)
local page = {}
for at = 1, math.min(limit, #entries) do page[at] = entries[at] end
return page
