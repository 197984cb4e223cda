-- Adds records to a usage log. KEYS: 1, 2 the log. ARGV: 3 how many it keeps, 4 for how long, then the records
for i = 5, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[i]) end
redis.call('XTRIM', KEYS[1], 'MINID', '~', whole(oldest(tonumber(ARGV[4]))))
return { 'done' }
