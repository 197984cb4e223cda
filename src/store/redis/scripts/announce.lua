-- Appends IDs of keys to the stream of those that were revoked. It has the latest thousands alone.
-- KEYS: 1, 2 the stream. ARGV: 3... the IDs
for i = 3, #ARGV do redis.call('XADD', KEYS[1], 'MAXLEN', '~', '10000', '*', 'k', ARGV[i]) end
return { 'done' }
