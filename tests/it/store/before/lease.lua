-- Script of the release before accounts of people came in, as it ran it; nothing below this line is changed.
-- Adds balance and window slots to the lease of an instance, a quarter of what is free at most.
-- ARGV: 3 instance, 4 number, 5 tokens, 6 slots, 7 ttl in ms, 8 limit (empty: none), 9 span in ms,
-- 10 told (tokens reported so far)
local account, instead = open()
if not account then return instead end
sweep(account)
local id, number = ARGV[3], tonumber(ARGV[4])
local before, mark = account.leases[id], account.marks[id]
local limit, span
if ARGV[8] ~= '' then limit, span = tonumber(ARGV[8]), tonumber(ARGV[9]) end
local granted, slots, slots_until
if before and before.number >= number then
  granted, slots, slots_until = before.granted, before.slots, before.slots_until
else
  granted = math.min(tonumber(ARGV[5]), math.floor(free(account) / 4))
  slots, slots_until = 0, now
  if limit then
    slots = math.min(tonumber(ARGV[6]), math.floor(room(account.slices, limit, span) / 4))
    count(account, limit, span, slots)
    slots_until = slice_end(span)
  end
  local told = tonumber(ARGV[10])
  if before then told = before.told elseif mark then told = mark.told end
  put_lease(account, id, {
    amount = math.min((before and before.amount or 0) + granted, MOST),
    expires = now + tonumber(ARGV[7]), number = number, granted = granted, slots = slots,
    slots_until = slots_until, told = told,
  })
end
save(account)
return { 'granted', whole(granted), whole(slots), whole(math.max(slots_until - now, 0)),
  whole(account.leases[id].amount), whole(account.left), pace(account, limit, span) }
