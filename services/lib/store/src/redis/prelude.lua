-- Shared by the scripts that write. Each space has its keys in one hash slot:
-- KEYS: 1 values, 2 order, 3 feed, 4 head, 5 expiry, 6 erasures to be finished.
local VALUES, ORDER, FEED, HEAD, EXPIRY, ERASURES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]

-- Numbers as text without loss below 2^53; tostring would round.
local function text(n)
  return string.format('%.0f', n)
end

-- The revision that comes next. Without a head, which only tampering takes away, the feed still knows the last one.
local function next_revision()
  local head = redis.call('GET', HEAD)
  if head then
    return tonumber(string.match(head, '^%d+')) + 1
  end
  local last = redis.call('XREVRANGE', FEED, '+', '-', 'COUNT', 1)[1]
  return last and tonumber(string.match(last[1], '^%d+')) + 1 or 1
end

local function remove(key)
  redis.call('HDEL', VALUES, key)
  redis.call('ZREM', ORDER, key)
  redis.call('ZREM', EXPIRY, key)
end

-- Tells the feed of the keys touched, in entries of a thousand, and declares the revision reached.
local function tell(revision, token, keys, kept)
  local id = text(revision)
  for first = 1, math.max(#keys, 1), 1000 do
    local fields = {}
    for i = first, math.min(first + 999, #keys) do
      fields[#fields + 1] = keys[i]
      fields[#fields + 1] = token
    end
    if #keys == 0 then
      -- An entry needs a field; this one stands for none.
      fields = { '', token .. '-' }
    end
    redis.call('XADD', FEED, id .. '-' .. text((first - 1) / 1000), unpack(fields))
  end
  if revision > kept then
    redis.call('XTRIM', FEED, 'MINID', text(revision - kept + 1))
  end
  redis.call('SET', HEAD, id .. ' ' .. token)
end
