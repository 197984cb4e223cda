-- Adds records to a usage log. KEYS: 1, 2 the log. ARGV: 3 how many it keeps, 4 the oldest moment it
-- keeps, then the records
for i = 5, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[i]) end
redis.call('XTRIM', KEYS[1], 'MINID', '~', ARGV[4])
return { 'done' }
