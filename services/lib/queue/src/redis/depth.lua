-- KEYS: jobs, dead. ARGV: time to live of dead letters (ms), body prefix. Waiting, in flight, age of the oldest waiting
-- (ms), taken so far, dead letters.
expire_letters(KEYS[2], ARGV[1], ARGV[2])
local g, dead = group(KEYS[1]), redis.call('XLEN', KEYS[2])
local stream = redis.pcall('XINFO', 'STREAM', KEYS[1])
if stream.err then return {0, 0, 0, 0, dead} end
local n = waiting(KEYS[1], g)
return {n, g and g.pending or 0, oldest(KEYS[1], g, now_ms()), math.max(0, fields(stream)['entries-added'] - n), dead}
