-- KEYS: jobs. ARGV: consumer, least idle time (ms), most entries, idle time of a forgotten consumer (ms), least idle
-- time (ms) of entries in the hands of the consumers that are gone, whose names follow.
-- Follows the cursor to its end; entries that are gone from the stream leave the list of those pending by themselves.
local jobs, most, found, cursor = KEYS[1], tonumber(ARGV[3]), {}, '0-0'
for i = 6, #ARGV do
  local pending = #found < most and redis.pcall('XPENDING', jobs, GROUP, 'IDLE', ARGV[5], '-', '+', most - #found, ARGV[i])
  for _, p in ipairs(pending and not pending.err and pending or {}) do
    local claimed = redis.call('XCLAIM', jobs, GROUP, ARGV[1], ARGV[5], p[1])[1]
    if claimed then found[#found + 1] = taken(jobs, claimed) end
  end
end
while #found < most do
  local claimed = redis.pcall('XAUTOCLAIM', jobs, GROUP, ARGV[1], ARGV[2], cursor, 'COUNT', most - #found)
  if claimed.err then return found end
  cursor = claimed[1]
  for _, entry in ipairs(claimed[2]) do
    if entry[2] then found[#found + 1] = taken(jobs, entry) end
  end
  if cursor == '0-0' then break end
end
-- Names nobody uses any more; a name with entries in its hands is never removed, its entries would go with it.
for _, c in ipairs(consumers(jobs)) do
  if c.name ~= ARGV[1] and c.pending == 0 and c.idle > tonumber(ARGV[4]) then
    redis.call('XGROUP', 'DELCONSUMER', jobs, GROUP, c.name)
  end
end
return found
