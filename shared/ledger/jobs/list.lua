#!lua flags=no-writes
-- list: return ids and times of the newest jobs under these index keys that are older than a position.
-- KEYS queue
-- ARGV prefix limit created_after before_time before_id index_key...
local limit, before, found = tonumber(ARGV[2]), tonumber(ARGV[4]), {}
for index_key = 6, #ARGV do
  local offset, taken = 0, 0
  while taken < limit do
    local part = redis.call('ZRANGE', prefix .. 'index:' .. ARGV[index_key], ARGV[4], ARGV[3], 'BYSCORE', 'REV',
      'LIMIT', offset, limit, 'WITHSCORES')
    for at = 1, #part, 2 do
      if taken < limit and not (tonumber(part[at + 1]) == before and part[at] >= ARGV[5]) then
        found[#found + 1] = {part[at], part[at + 1]}
        taken = taken + 1
      end
    end
    if #part < 2 * limit then break end
    offset = offset + limit
  end
end
table.sort(found, function(one, other)
  local left, right = tonumber(one[2]), tonumber(other[2])
  if left == right then return one[1] > other[1] end
  return left > right
end)
local page = {}
for at = 1, math.min(limit, #found) do page[at] = found[at] end
return page
