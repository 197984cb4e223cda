-- ARGV: 3 id, 4 used, 5 retry ('1')
local account, instead = open()
if not account then return instead end
sweep(account)
local id, used = ARGV[3], tonumber(ARGV[4])
local hold, mark = account.holds[id], account.marks[id]
local due = used
if hold then
  drop(account, 'h', id)
elseif mark then
  drop(account, 'm', id)
  due = math.max(used - mark.charged, 0)
elseif ARGV[5] == '1' then
  due = 0
end
local charged, overrun = charge(account, due)
save(account)
return { 'settled', whole(charged), whole(overrun), whole(account.left) }
