-- KEYS: jobs. ARGV: consumer. 1 if the name is gone.
local consumers = redis.pcall('XINFO', 'CONSUMERS', KEYS[1], GROUP)
if consumers.err then return 1 end
for _, flat in ipairs(consumers) do
  local c = fields(flat)
  if c.name == ARGV[1] then
    if c.pending > 0 then return 0 end
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], GROUP, ARGV[1])
  end
end
return 1
