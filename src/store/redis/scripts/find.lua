-- Returns the account as a sweep would leave it; nothing is written.
-- ARGV: 3 tenant, 4 its first five characters, 5 the key's id, with a '=' before it where the account is no person's ('*': without a key), 6... groups
local account, instead = open()
if not account then return instead end
local known_here, key = standing(account, ARGV[3], ARGV[5])
if not known_here then return { 'gone' } end
local group = group_of(account, ARGV[4])
local limits = limits_of(group, 6)
sweep(account)
refill(account, limits.refill, limits.every)
local life = key and (key.expires and key.expires - now or -1) or redis.call('PTTL', KEYS[1])
local words = {
  'found', account.text, group, whole(life),
  whole(account.left), whole(free(account)), whole(account.overrun), pace(account, limits.limit, limits.span),
}
for _, word in ipairs({ arriving(account) }) do words[#words + 1] = word end
words[#words + 1] = key and key.text or ''
words[#words + 1] = account.label
words[#words + 1] = key and whole(account.by_key[tonumber(ARGV[5], 16)] or 0) or '0'
return words
