-- Script of the release before accounts of people came in, as it ran it; nothing below this line is changed.
-- Returns the account as a sweep would leave it; nothing is written. ARGV: 3 tenant, 4 key, 5... groups
local account, instead = open()
if not account then return instead end
if account.tenant and account.tenant ~= ARGV[3] then return { 'gone' } end
local group = group_of(account, ARGV[4])
local limit, span = limits_of(group, 5)
sweep(account)
return {
  'found', account.text, group, whole(redis.call('PTTL', KEYS[1])),
  whole(account.left), whole(free(account)), whole(account.overrun), pace(account, limit, span),
}
