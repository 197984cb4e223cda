-- Charges what an instance spent of its lease, and frees what it gives back. A repeated number does nothing.
-- ARGV: 3 instance, 4 number, 5 spent, 6 back, 7 ttl in ms, 8 retry ('1'), 9 ends ('1'), 10 before and
-- 11 begun (empty: none), 12... ID, cost and note of what was spent
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
    put_mark(account, id, { charged = mark.charged - already, expires = mark.expires, number = number, told = told, key = mark.key })
    due = all - already
  end
elseif begun and ARGV[9] ~= '1' then
  put_mark(account, id, { charged = 0, expires = now + MARK_LIFE, number = number, told = told_after(nil) })
  due = math.min(spent + begun, MOST)
elseif ARGV[8] ~= '1' then
  due = spent
end
-- Charges what is due as these requests: the last of them, where some was charged before; with a posting of the
-- lease's own before them, where an earlier report is charged too.
local of_lines = 0
for i = 12, #ARGV, 3 do of_lines = math.min(of_lines + tonumber(ARGV[i + 1]), MOST) end
local skipped = math.max(of_lines - due, 0)
local charged, overrun = charge(account, math.max(due - of_lines, 0), 'settled', id)
for i = 12, #ARGV, 3 do
  local cost = tonumber(ARGV[i + 1])
  local already = math.min(cost, skipped)
  skipped = skipped - already
  local more, beyond = charge(account, cost - already, 'settled', ARGV[i], ARGV[i + 2])
  charged, overrun = charged + more, math.min(overrun + beyond, MOST)
end
if ARGV[9] == '1' and spent == 0 then
  account.leases[id], account.marks[id] = nil, nil
  drop(account, 'l', id)
  drop(account, 'm', id)
end
save(account)
local reserved = account.leases[id] and account.leases[id].amount or 0
return { 'settled', whole(charged), whole(overrun), whole(account.left), whole(reserved) }
