-- KEYS: dead. ARGV: most, time to live (ms), body prefix, first and last id. Dead letters, newest first; those past
-- their time go.
local born = now_ms() - tonumber(ARGV[2])
repeat
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local old = first and tonumber(fields(first[2]).t) <= born
  if old then
    redis.call('DEL', ARGV[3] .. fields(first[2]).b)
    redis.call('XDEL', KEYS[1], first[1])
  end
until not old
local found = {}
if tonumber(ARGV[1]) > 0 then
  local entries = redis.pcall('XREVRANGE', KEYS[1], ARGV[5], ARGV[4], 'COUNT', ARGV[1])
  -- An id that is none names no letter.
  for _, entry in ipairs(entries.err and {} or entries) do
    local f = fields(entry[2])
    found[#found + 1] = {entry[1], f.b, f.r, f.d, f.t}
  end
end
return found
