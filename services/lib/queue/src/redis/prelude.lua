-- Before every script: the server's clock, a stream entry's fields, and the test whether a receipt is still good.
local GROUP = 'workers'

local function now_ms()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end

local function whole(n)
  return string.format('%.0f', n)
end

local function fields(flat)
  local f = {}
  for i = 1, #flat, 2 do f[flat[i]] = flat[i + 1] end
  return f
end

-- The group of a lane; nil if there is none.
local function group(jobs)
  local groups = redis.pcall('XINFO', 'GROUPS', jobs)
  if groups.err or #groups == 0 then return nil end
  return fields(groups[1])
end

local function make_group(jobs)
  redis.pcall('XGROUP', 'CREATE', jobs, GROUP, '0', 'MKSTREAM')
end

-- Fields of an entry that this consumer holds, by this delivery; nil if the receipt is void.
local function held(jobs, id, consumer, deliveries)
  local pending = redis.pcall('XPENDING', jobs, GROUP, id, id, 1)
  if pending.err or #pending == 0 or pending[1][2] ~= consumer then return nil end
  local entry = redis.call('XRANGE', jobs, id, id)
  if #entry == 0 then return nil end
  local f = fields(entry[1][2])
  if tonumber(f.d) + pending[1][4] ~= tonumber(deliveries) then return nil end
  return f
end

local function take_off(jobs, id)
  redis.call('XACK', jobs, GROUP, id)
  redis.call('XDEL', jobs, id)
end

local function put(jobs, f)
  return redis.call('XADD', jobs, '*', 'b', f.b, 't', f.t, 'd', f.d, 's', f.s)
end

-- Age of the oldest entry that nobody has taken, in milliseconds.
local function oldest(jobs, g, now)
  local from = g and ('(' .. g['last-delivered-id']) or '-'
  local first = redis.call('XRANGE', jobs, from, '+', 'COUNT', 1)
  if #first == 0 then return 0 end
  return math.max(0, now - tonumber(fields(first[1][2]).t))
end

local function waiting(jobs, g)
  return redis.call('XLEN', jobs) - (g and g.pending or 0)
end

local function count_bytes(key, n)
  if redis.call('INCRBY', key, n) <= 0 then redis.call('DEL', key) end
end

-- Every consumer of the group.
local function consumers(jobs)
  local flat, all = redis.pcall('XINFO', 'CONSUMERS', jobs, GROUP), {}
  for i, c in ipairs(flat.err and {} or flat) do all[i] = fields(c) end
  return all
end

-- An entry in somebody's hands as callers are told of it: id, body's name, when appended, deliveries.
local function taken(jobs, entry)
  local f = fields(entry[2])
  local count = redis.call('XPENDING', jobs, GROUP, entry[1], entry[1], 1)[1][4]
  return {entry[1], f.b, f.t, whole(tonumber(f.d) + count)}
end

-- Drops dead letters past their time.
local function expire_letters(dead, ttl, body)
  local born = now_ms() - tonumber(ttl)
  repeat
    local first = redis.call('XRANGE', dead, '-', '+', 'COUNT', 1)[1]
    local old = first and tonumber(fields(first[2]).t) <= born
    if old then
      redis.call('DEL', body .. fields(first[2]).b)
      redis.call('XDEL', dead, first[1])
    end
  until not old
end
