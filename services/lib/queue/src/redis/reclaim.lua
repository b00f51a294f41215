-- KEYS: jobs. ARGV: consumer, least idle time (ms), most entries, idle time of a forgotten consumer (ms).
-- Follows the cursor to its end; entries that are gone from the stream leave the list of those pending by themselves.
local jobs, found, cursor = KEYS[1], {}, '0-0'
repeat
  local claimed = redis.pcall('XAUTOCLAIM', jobs, GROUP, ARGV[1], ARGV[2], cursor, 'COUNT', ARGV[3] - #found)
  if claimed.err then return found end
  cursor = claimed[1]
  for _, entry in ipairs(claimed[2]) do
    local f = entry[2] and fields(entry[2])
    if f then
      local count = redis.call('XPENDING', jobs, GROUP, entry[1], entry[1], 1)[1][4]
      found[#found + 1] = {entry[1], f.b, f.t, whole(tonumber(f.d) + count)}
    end
  end
until cursor == '0-0' or #found >= tonumber(ARGV[3])
-- Names nobody uses any more; a name with entries in its hands is never removed, its entries would go with it.
for _, flat in ipairs(redis.call('XINFO', 'CONSUMERS', jobs, GROUP)) do
  local c = fields(flat)
  if c.name ~= ARGV[1] and c.pending == 0 and c.idle > tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', jobs, GROUP, c.name)
  end
end
return found
