-- Script of the release before accounts of people came in, as it ran it; nothing below this line is changed.
-- Replays a settlement that a server acknowledged which was replaced since. ARGV: 3 id, 4 used
local account, instead = open()
if not account then return instead end
sweep(account)
local id, used = ARGV[3], tonumber(ARGV[4])
local due, mark = 0, account.marks[id]
if account.holds[id] then
  due = used
  drop(account, 'h', id)
elseif mark and used > mark.charged then
  due = used - mark.charged
  put_mark(account, id, { charged = used, expires = mark.expires, number = mark.number, told = mark.told })
end
local charged, overrun = charge(account, due)
save(account)
return { 'settled', whole(charged), whole(overrun), whole(account.left) }
