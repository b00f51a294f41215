#!lua flags=allow-oom
-- KEYS: reply stream. ARGV: reply, most replies, time to live (ms). Allowed when memory is short: without its reply a job
-- is never acknowledged, and memory never comes back.
redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*', 'r', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return 1
