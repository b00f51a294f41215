-- Part of the feed, and the space's head as of the same moment.
-- KEYS: 1 feed, 2 head. ARGV: 1 first revision wanted, 2 most commits.
local entries = redis.call('XRANGE', KEYS[1], ARGV[1] .. '-0', '+', 'COUNT', ARGV[2])
if #entries > 0 then
  -- The last commit may go on in further entries.
  local last = entries[#entries][1]
  local rest = redis.call('XRANGE', KEYS[1], '(' .. last, string.match(last, '^%d+'))
  for _, entry in ipairs(rest) do
    entries[#entries + 1] = entry
  end
end
return { redis.call('GET', KEYS[2]) or '0 0', entries }
