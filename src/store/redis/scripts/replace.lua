-- Replaces a text if it equals the expected one. KEYS: 1, 2 the text. ARGV: 3 expected, 4 new text
if redis.call('GET', KEYS[1]) ~= ARGV[3] then return { 'changed' } end
redis.call('SET', KEYS[1], ARGV[4])
return { 'done' }
