-- KEYS: jobs. Waiting, in flight, age of the oldest waiting (ms), taken so far.
local g = group(KEYS[1])
local stream = redis.pcall('XINFO', 'STREAM', KEYS[1])
if stream.err then return {0, 0, 0, 0} end
local n = waiting(KEYS[1], g)
return {n, g and g.pending or 0, oldest(KEYS[1], g, now_ms()), math.max(0, fields(stream)['entries-added'] - n)}
