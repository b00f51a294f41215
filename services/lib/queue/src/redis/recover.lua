-- KEYS: jobs. ARGV: consumer, most entries, then the ids it knows to be in its hands. The others that the server counts as
-- in its hands: the answer that handed them over was lost on the way.
local known, found = {}, {}
for i = 3, #ARGV do known[ARGV[i]] = true end
local pending = redis.pcall('XPENDING', KEYS[1], GROUP, '-', '+', tonumber(ARGV[2]) + #ARGV - 2, ARGV[1])
for _, p in ipairs(pending.err and {} or pending) do
  if not known[p[1]] and #found < tonumber(ARGV[2]) then
    -- As if read now; its deliveries stay as they are.
    redis.call('XCLAIM', KEYS[1], GROUP, ARGV[1], 0, p[1], 'JUSTID')
    local entry = redis.call('XRANGE', KEYS[1], p[1], p[1])[1]
    if entry then found[#found + 1] = taken(KEYS[1], entry) end
  end
end
return found
