-- Script of the release before accounts of people came in, as it ran it; nothing below this line is changed.
-- Holds tokens for a request, if window, concurrency and balance allow it.
-- ARGV: 3 id, 4 least, 5 most, 6 open, 7 known, 8 ttl in ms, 9 tenant, 10 key, 11... groups
local account, instead = open()
if not account then return instead end
if account.tenant and account.tenant ~= ARGV[9] then return { 'gone' } end
local id, least, most = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local known, ttl = tonumber(ARGV[7]), tonumber(ARGV[8])
local group = group_of(account, ARGV[10])
local limit, span, concurrent = limits_of(group, 11)
sweep(account)

local function answer(kind, amount)
  save(account)
  return { kind, group, whole(amount), whole(account.left), pace(account, limit, span) }
end

local hold = account.holds[id]
if hold then return answer('granted', hold.max) end
if account.marks[id] then return answer('held', 0) end
if limit and room(account.slices, limit, span) == 0 then
  return answer('limited', wait(account.slices, limit, span))
end
local spare = free(account)
local crowded = concurrent and in_flight(account) >= concurrent
if crowded or spare < least then
  return answer(account.left < least and 'spent' or crowded and 'crowded' or 'held', 0)
end
local quarter = math.min(least + math.floor(spare / 4), tonumber(ARGV[6]))
local held = math.min(math.max(most, least, quarter), spare)
put_hold(account, id, { max = held, known = math.min(known, held), expires = now + ttl })
if limit then count(account, limit, span, 1) end
account.bind = ARGV[9]
return answer('granted', held)
