-- Script of the release before accounts of people came in, as it ran it; nothing below this line is changed.
-- Writes the group into the record. ARGV: 3 group
local account, instead = open()
if not account then return instead end
redis.call('SET', KEYS[1], with_string(account.text, 'group', ARGV[3]), 'KEEPTTL')
return { 'moved' }
