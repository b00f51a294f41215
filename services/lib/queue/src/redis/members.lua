-- KEYS: ends of leases, notes. ARGV: what, then for 'join' name, note, lease (ms); for 'part' name.
local now = now_ms()
if ARGV[1] == 'join' then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[4]), ARGV[2])
  redis.call('HSET', KEYS[2], ARGV[2], ARGV[3])
elseif ARGV[1] == 'part' then
  redis.call('ZREM', KEYS[1], ARGV[2])
  redis.call('HDEL', KEYS[2], ARGV[2])
end
for _, name in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now)) do
  redis.call('ZREM', KEYS[1], name)
  redis.call('HDEL', KEYS[2], name)
end
if ARGV[1] ~= 'list' then return {} end
local found = {}
for _, name in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  found[#found + 1] = {name, redis.call('HGET', KEYS[2], name) or ''}
end
table.sort(found, function(a, b) return a[1] < b[1] end)
return found
