-- Writes the group into the record. The new group's refill comes with the next period. ARGV: 3 group
local account, instead = open()
if not account then return instead end
account.text_after = with_string(account.text, 'group', ARGV[3])
account.refilled = now
put(account, 'r', '', now)
save(account)
return { 'moved' }
