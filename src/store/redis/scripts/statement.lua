-- Brings the balance up to date, and returns the ledger: the balance, the tally (empty: none), the number of fields of
-- sums, these with their values, and all postings that are kept whole.
-- ARGV: 3 first five characters of a key, 4... groups
local account, instead = open()
if not account then return instead end
sweep(account)
local limits = limits_of(group_of(account, ARGV[3]), 4)
refill(account, limits.refill, limits.every)
save(account)
local tally = account.tally
local words = { 'statement', whole(account.left), tally and whole(tally.number) or '', tally and whole(tally.balance) or '' }
local sums = redis.call('HGETALL', KEYS[5])
words[5] = whole(#sums)
for _, word in ipairs(sums) do words[#words + 1] = word end
for _, text in ipairs(redis.call('LRANGE', KEYS[4], 0, -1)) do words[#words + 1] = text end
return words
