-- Ends a hold and charges what was used and not charged before. ARGV: 3 id, 4 used, 5 retry ('1'), 6 note
local account, instead = open()
if not account then return instead end
sweep(account)
local id, used = ARGV[3], tonumber(ARGV[4])
local hold, mark = account.holds[id], account.marks[id]
local retry = ARGV[5] == '1'
local before = mark and mark.charged or 0
local due = (hold or mark or not retry) and math.max(used - before, 0) or 0
if hold then drop(account, 'h', id) end
if mark then drop(account, 'm', id) end
local key = hold and hold.key or mark and mark.key
if retry then put_mark(account, id, { charged = math.max(before, used), expires = now + MARK_LIFE, number = 0, key = key }) end
local charged, overrun = charge_to(account, key, due, 'settled', id, ARGV[6])
save(account)
return { 'settled', whole(charged), whole(overrun), whole(account.left) }
