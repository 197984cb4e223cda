-- Returns the other identities that lead to a person's account.
local account, instead = open()
if not account then return instead end
local ids = {}
for id in pairs(account.identities) do ids[#ids + 1] = id end
table.sort(ids)
table.insert(ids, 1, 'identities')
return ids
