-- KEYS: jobs. Names of the consumers that have entries in their hands.
local found = {}
for _, c in ipairs(consumers(KEYS[1])) do
  if c.pending > 0 then found[#found + 1] = c.name end
end
return found
