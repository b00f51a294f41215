-- Live keys of a range in byte order, with their values if asked for; as of one moment.
-- KEYS: 1 values, 2 order, 3 expiry.
-- ARGV: 1 now in ms, 2 limit, 3 and 4 the range as ZRANGEBYLEX takes it, 5 bytes of values after which to stop,
--   6 whether values are wanted.
-- Gives whether more follow, then the keys, each followed by its value if asked for.
local now, limit, from, budget, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[5]), ARGV[6] == '1'
local reply, taken, bytes = { 0 }, 0, 0
while true do
  local ask = math.min(limit - taken + 1, 500)
  local keys = redis.call('ZRANGEBYLEX', KEYS[2], from, ARGV[4], 'LIMIT', 0, ask)
  if #keys == 0 then
    return reply
  end
  local expiry, live = redis.call('ZMSCORE', KEYS[3], unpack(keys)), {}
  for i, key in ipairs(keys) do
    if not expiry[i] or tonumber(expiry[i]) > now then
      live[#live + 1] = key
    end
  end
  local over = #live > limit - taken
  if over then
    live[#live] = nil
  end
  for first = 1, #live, 25 do
    if bytes >= budget then
      reply[1] = 1
      return reply
    end
    local slice = { unpack(live, first, math.min(first + 24, #live)) }
    local values = wanted and redis.call('HMGET', KEYS[1], unpack(slice))
    for i, key in ipairs(slice) do
      reply[#reply + 1] = key
      if wanted then
        reply[#reply + 1] = values[i]
        bytes = bytes + (values[i] and #values[i] or 0)
      end
    end
  end
  taken = taken + #live
  if over then
    reply[1] = 1
    return reply
  end
  if #keys < ask then
    return reply
  end
  from = '(' .. keys[#keys]
end
