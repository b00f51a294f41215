-- KEYS: jobs. ARGV: consumer. 1 if the name is gone.
for _, c in ipairs(consumers(KEYS[1])) do
  if c.name == ARGV[1] then
    if c.pending > 0 then return 0 end
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], GROUP, ARGV[1])
  end
end
return 1
