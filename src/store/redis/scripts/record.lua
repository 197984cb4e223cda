-- Appends records to a usage log, a stream.
-- KEYS: 1, 2 the log. ARGV: 3 maximum number of records, 4 maximum age in ms, 5... the new records
for i = 5, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], '*', 'e', ARGV[i]) end
redis.call('XTRIM', KEYS[1], 'MINID', '~', whole(oldest(tonumber(ARGV[4]))))
-- A tenant that has no calls any more would keep its last records for ever.
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return { 'done' }
