-- Script of the release before accounts of people came in, as it ran it; nothing below this line is changed.
-- Charges what an instance spent of its lease, and frees what it gives back. A repeated number does nothing.
-- ARGV: 3 instance, 4 number, 5 spent, 6 back, 7 ttl in ms, 8 retry ('1'), 9 ends ('1'), 10 before and
-- 11 begun (empty: none)
local account, instead = open()
if not account then return instead end
sweep(account)
local id, number, spent = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local before, begun = tonumber(ARGV[10]), tonumber(ARGV[11])
local lease, mark = account.leases[id], account.marks[id]

-- Tokens to charge if `told` are known to be reported so far, and the total known after this report.
local function due_after(told)
  return math.min(spent + (before and told and math.max(before - told, 0) or 0), MOST)
end
local function told_after(told)
  local base = before or told
  return base and math.min(base + spent, MOST)
end

local due = 0
if lease then
  if number > lease.number then
    due = due_after(lease.told)
    lease.number, lease.told = number, told_after(lease.told)
    lease.amount = math.max(math.max(lease.amount - due, 0) - tonumber(ARGV[6]), 0)
    lease.expires = now + tonumber(ARGV[7])
    put_lease(account, id, lease)
  end
elseif mark then
  if number > mark.number then
    local all = due_after(mark.told)
    local already = math.min(mark.charged, all)
    local told = told_after(mark.told)
    put_mark(account, id, { charged = mark.charged - already, expires = mark.expires, number = number, told = told })
    due = all - already
  end
elseif begun and ARGV[9] ~= '1' then
  put_mark(account, id, { charged = 0, expires = now + MARK_LIFE, number = number, told = told_after(nil) })
  due = math.min(spent + begun, MOST)
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
