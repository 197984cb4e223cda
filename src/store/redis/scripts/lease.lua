-- ARGV: 3 instance, 4 number, 5 tokens, 6 slots, 7 ttl, 8 limit (empty: none), 9 span
local account, instead = open()
if not account then return instead end
sweep(account)
local id, number = ARGV[3], tonumber(ARGV[4])
local before = account.leases[id]
local granted, slots
if before and before.number >= number then
  granted, slots = before.granted, before.slots
else
  granted = math.min(tonumber(ARGV[5]), math.floor(free(account) / 4))
  slots = 0
  if ARGV[8] ~= '' then
    local limit, span = tonumber(ARGV[8]), tonumber(ARGV[9])
    slots = math.min(tonumber(ARGV[6]), room(account.slices, limit, span))
    count(account, limit, span, slots)
  end
  put_lease(account, id, {
    amount = math.min((before and before.amount or 0) + granted, MOST),
    expires = now + tonumber(ARGV[7]), number = number, granted = granted, slots = slots,
  })
end
save(account)
return { 'granted', whole(granted), whole(slots), whole(account.left) }
