-- Ends a key of a person's account. Returns its row. ARGV: 3 the key's id
local account, instead = open()
if not account then return instead end
local row = redis.call('HGET', KEYS[3], ARGV[3])
if not row then return { 'gone' } end
redis.call('HDEL', KEYS[3], ARGV[3])
drop(account, 'k', whole(tonumber(ARGV[3], 16)))
save(account)
return { 'dropped', row }
