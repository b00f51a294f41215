-- KEYS: bucket. ARGV: cost, seconds per unit, burst. The arithmetic of rate.rs on the server's clock, times in
-- microseconds on the way back: allowed, remaining, retry after, reset after.
local t = redis.call('TIME')
local now = t[1] + t[2] / 1000000
local cost, interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local wanted = tat + cost * interval
local over = wanted - now - burst * interval
local allowed = over <= 1e-6
if allowed then
  tat = wanted
  redis.call('SET', KEYS[1], string.format('%.17g', tat), 'PX', math.max(1, math.ceil((tat - now) * 1000)))
end
local ahead = tat - now
local remaining = math.max(0, math.floor(burst - ahead / interval + 1e-3))
return {allowed and 1 or 0, remaining, allowed and 0 or math.ceil(over * 1e6), math.ceil(ahead * 1e6)}
