-- Script of the release before accounts of people came in, as it ran it; nothing below this line is changed.
-- Extends a hold and raises its known cost. ARGV: 3 id, 4 known, 5 ttl in ms
local account, instead = open()
if not account then return instead end
sweep(account)
local hold = account.holds[ARGV[3]]
if hold then
  hold.known = math.max(hold.known, math.min(tonumber(ARGV[4]), hold.max))
  hold.expires = now + tonumber(ARGV[5])
  put_hold(account, ARGV[3], hold)
end
save(account)
return { hold and 'renewed' or 'lost' }
