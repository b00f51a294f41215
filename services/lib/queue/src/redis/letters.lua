-- KEYS: dead. ARGV: most, time to live (ms), body prefix, first and last id. Dead letters, newest first; those past
-- their time go.
expire_letters(KEYS[1], ARGV[2], ARGV[3])
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
