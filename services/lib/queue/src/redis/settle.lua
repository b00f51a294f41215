-- KEYS: jobs, bytes, dead. ARGV: id, consumer, deliveries, what, body prefix, then for 'bury': reason, capacity,
-- time to live (ms). Ends a consumer's hold on an entry in one of five ways; 0 if the receipt is void.
local jobs, id, consumer, what = KEYS[1], ARGV[1], ARGV[2], ARGV[4]
local f = held(jobs, id, consumer, ARGV[3])
if not f then return 0 end
if what == 'touch' then
  redis.call('XCLAIM', jobs, GROUP, consumer, 0, id, 'JUSTID')
  return 1
end
-- The first write; allowed when memory is short, and so is what follows it in one script.
take_off(jobs, id)
if what == 'ack' then
  redis.call('DEL', ARGV[5] .. f.b)
  count_bytes(KEYS[2], -tonumber(f.s))
elseif what == 'forgiven' or what == 'counts' then
  f.d = whole(tonumber(ARGV[3]) - (what == 'forgiven' and 1 or 0))
  put(jobs, f)
elseif what == 'requeue' then
  f.d, f.t = '0', whole(now_ms())
  put(jobs, f)
elseif what == 'bury' then
  count_bytes(KEYS[2], -tonumber(f.s))
  redis.call('PEXPIRE', ARGV[5] .. f.b, ARGV[8])
  redis.call('XADD', KEYS[3], '*', 'b', f.b, 's', f.s, 'r', ARGV[6], 'd', ARGV[3], 't', whole(now_ms()))
  while redis.call('XLEN', KEYS[3]) > tonumber(ARGV[7]) do
    local first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
    redis.call('DEL', ARGV[5] .. fields(first[2]).b)
    redis.call('XDEL', KEYS[3], first[1])
  end
end
return 1
