-- ARGV: 3 instance, 4 number, 5 spent, 6 back, 7 ttl, 8 retry ('1'), 9 ends ('1')
local account, instead = open()
if not account then return instead end
sweep(account)
local id, number, spent = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local lease, mark = account.leases[id], account.marks[id]
local due = 0
if lease then
  if number > lease.number then
    lease.number = number
    lease.amount = math.max(math.max(lease.amount - spent, 0) - tonumber(ARGV[6]), 0)
    lease.expires = now + tonumber(ARGV[7])
    put_lease(account, id, lease)
    due = spent
  end
elseif mark then
  if number > mark.number then
    local already = math.min(mark.charged, spent)
    put_mark(account, id, { charged = mark.charged - already, expires = mark.expires, number = number })
    due = spent - already
  end
elseif ARGV[8] ~= '1' then
  due = spent
end
local charged, overrun = charge(account, due)
if ARGV[9] == '1' and spent == 0 then
  account.leases[id], account.marks[id] = nil, nil
  drop(account, 'l', id)
  drop(account, 'm', id)
end
save(account)
local reserved = account.leases[id] and account.leases[id].amount or 0
return { 'settled', whole(charged), whole(overrun), whole(account.left), whole(reserved) }
