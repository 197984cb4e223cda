-- Ends a key of a person's account. Returns its row, and what it has spent and may still spend in requests in flight.
-- ARGV: 3 the key's id
local account, instead = open()
if not account then return instead end
local row = redis.call('HGET', KEYS[3], ARGV[3])
if not row then return { 'gone' } end
redis.call('HDEL', KEYS[3], ARGV[3])
local number = tonumber(ARGV[3], 16)
local spent = account.by_key[number] or 0
for _, hold in pairs(account.holds) do
  if hold.key == number then spent = math.min(spent + hold.max, MOST) end
end
drop(account, 'k', whole(number))
save(account)
return { 'dropped', row, whole(spent) }
