-- Deletes a person's account. What requests in flight and leases hold counts as spent: they meet no account any more.
-- Its books and payments keep what stops it from beginning anew with more than it had.
-- ARGV: 3 life of what is kept, in ms
local account, instead = open()
if not account then return instead end
local words = { 'erased', account.apple or '', '0' }
local identities = {}
for id in pairs(account.identities) do identities[#identities + 1] = id end
table.sort(identities)
words[3] = whole(#identities)
for _, id in ipairs(identities) do words[#words + 1] = id end
local rows = redis.call('HGETALL', KEYS[3])
for i = 1, #rows, 2 do words[#words + 1] = rows[i + 1] end
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5])
local last = now + tonumber(ARGV[3])
redis.call('HSET', KEYS[2], 'd:', whole(free(account)) .. ':' .. whole(last))
for hash, expires in pairs(account.founders) do
  redis.call('HSET', KEYS[2], 't:' .. hash, whole(expires))
  last = math.max(last, expires)
end
redis.call('PEXPIRE', KEYS[2], whole(last - now))
redis.call('PEXPIRE', KEYS[6], whole(last - now))
return words
