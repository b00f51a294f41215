-- KEYS: dead, jobs, bytes. ARGV: id, what, body prefix, payload ('' keeps it). Drops a dead letter or puts it back on
-- its lane; 0 if it is not there.
local entry = redis.pcall('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if entry.err or #entry == 0 then return 0 end
local f = fields(entry[1][2])
local body = ARGV[3] .. f.b
redis.call('XDEL', KEYS[1], ARGV[1])
if ARGV[2] == 'drop' then
  redis.call('DEL', body)
  return 1
end
if #ARGV[4] > 0 then redis.call('SET', body, ARGV[4]) end
if redis.call('EXISTS', body) == 0 then return 0 end
redis.call('PERSIST', body)
local size = redis.call('STRLEN', body)
if not group(KEYS[2]) then make_group(KEYS[2]) end
count_bytes(KEYS[3], size)
put(KEYS[2], {b = f.b, t = whole(now_ms()), d = '0', s = tostring(size)})
return 1
