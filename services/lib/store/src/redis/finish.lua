-- Forgets that erasures up to a revision were to be finished. KEYS: 1 erasures to be finished. ARGV: 1 revision.
local pending = redis.call('GET', KEYS[1])
if pending and tonumber(pending) <= tonumber(ARGV[1]) then
  redis.call('DEL', KEYS[1])
end
return 1
