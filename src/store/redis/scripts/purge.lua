-- Removes the records of a usage log that are too old, by the server's clock: a gateway's may be ahead.
-- KEYS: 1, 2 the log. ARGV: 3 maximum age in ms
return { 'removed', whole(redis.call('XTRIM', KEYS[1], 'MINID', whole(oldest(tonumber(ARGV[3]))))) }
