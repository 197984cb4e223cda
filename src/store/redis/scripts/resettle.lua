-- Replays a settlement that a server acknowledged which was replaced since. ARGV: 3 id, 4 used, 5 note
local account, instead = open()
if not account then return instead end
sweep(account)
local id, used = ARGV[3], tonumber(ARGV[4])
local due, hold, mark = 0, account.holds[id], account.marks[id]
if hold then
  due = used
  drop(account, 'h', id)
elseif mark and used > mark.charged then
  due = used - mark.charged
  put_mark(account, id, { charged = used, expires = mark.expires, number = mark.number, told = mark.told, key = mark.key })
end
local charged, overrun = charge_to(account, hold and hold.key or mark and mark.key, due, 'settled', id, ARGV[5])
save(account)
return { 'settled', whole(charged), whole(overrun), whole(account.left) }
