-- One commit, all of it or nothing. Everything that may be refused is looked at before the first write.
-- ARGV: 1 now in ms, 2 commits kept in the feed, 3 token, 4 whether erasures are to be finished later,
--   5 number of preconditions; then
--   of each precondition: a(bsent), p(resent) or u(nchanged), key, version in 8 bytes;
--   of each operation: p(ut), key, moment of expiry in ms or 0, value; or d(elete) or e(rase), key.
-- Gives 1 and the revision, or 0 and the key of the first precondition that does not hold.
local now, kept, token = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local at = 6
for _ = 1, tonumber(ARGV[5]) do
  local kind, key = ARGV[at], ARGV[at + 1]
  local there = redis.call('HEXISTS', VALUES, key) == 1
  if there then
    local expires = redis.call('ZSCORE', EXPIRY, key)
    there = not expires or tonumber(expires) > now
  end
  local holds = there
  if kind == 'a' then
    holds = not there
  elseif kind == 'u' and there then
    holds = string.sub(redis.call('HGET', VALUES, key), 1, 8) == ARGV[at + 2]
  end
  if not holds then
    return { 0, key }
  end
  at = at + 3
end

local revision = next_revision()
if revision >= 9007199254740992 then
  return redis.error_reply('ERR the revisions of this space are used up')
end
local version = struct.pack('<I8', revision)
local touched, seen, erases = {}, {}, false
while at <= #ARGV do
  local kind, key = ARGV[at], ARGV[at + 1]
  if kind == 'p' then
    local expires = ARGV[at + 2]
    redis.call('HSET', VALUES, key, version .. struct.pack('<I8', tonumber(expires)) .. ARGV[at + 3])
    redis.call('ZADD', ORDER, 0, key)
    if expires == '0' then
      redis.call('ZREM', EXPIRY, key)
    else
      redis.call('ZADD', EXPIRY, expires, key)
    end
    at = at + 4
  else
    remove(key)
    erases = erases or kind == 'e'
    at = at + 2
  end
  if not seen[key] then
    seen[key] = true
    touched[#touched + 1] = key
  end
end
tell(revision, token, touched, kept)
if erases and ARGV[4] == '1' then
  redis.call('SET', ERASURES, text(revision))
end
return { 1, text(revision) }
