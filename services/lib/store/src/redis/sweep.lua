-- Removes the first values that expired, as one commit.
-- ARGV: 1 now in ms, 2 commits kept in the feed, 3 token, 4 most values.
-- Gives their number, and the revision of the last erasure that is still to be finished, or 0.
local due = redis.call('ZRANGEBYSCORE', EXPIRY, '-inf', ARGV[1], 'LIMIT', 0, ARGV[4])
if #due > 0 then
  local revision = next_revision()
  for _, key in ipairs(due) do
    remove(key)
  end
  tell(revision, ARGV[3], due, tonumber(ARGV[2]))
end
return { #due, tonumber(redis.call('GET', ERASURES) or 0) }
