-- KEYS: jobs, bytes, body. ARGV: payload, body's name, most entries, most bytes, longest wait (ms).
-- Sent again where the answer to the first was lost.
if redis.call('EXISTS', KEYS[3]) == 1 then return {'ok', ARGV[2]} end
local jobs, now, size = KEYS[1], now_ms(), #ARGV[1]
local g = group(jobs)
if not g then make_group(jobs) end
local wait = oldest(jobs, g, now)
local used = tonumber(redis.call('GET', KEYS[2]) or '0')
if waiting(jobs, g) >= tonumber(ARGV[3]) or used + size > tonumber(ARGV[4]) or wait > tonumber(ARGV[5]) then
  return {'full', whole(wait)}
end
redis.call('SET', KEYS[3], ARGV[1])
count_bytes(KEYS[2], size)
return {'ok', put(jobs, {b = ARGV[2], t = whole(now), d = '0', s = tostring(size)})}
