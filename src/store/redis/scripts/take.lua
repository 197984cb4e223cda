-- Takes what is free of an anonymous key for another account, and closes this one.
-- ARGV: 3 tenant, 4 the other account, 5 most tokens in all
local account, instead = open()
if not account then return instead end
if account.tenant and account.tenant ~= ARGV[3] then return { 'refused' } end
if group_of(account, 'temp_') ~= 'anonymous' or account.suspended then return { 'refused' } end
sweep(account)
local left_for = account.left_for or { taken = 0, to = ARGV[4] }
if left_for.to ~= ARGV[4] then
  save(account)
  return { 'refused' }
end
local amount = math.min(free(account), math.max(tonumber(ARGV[5]) - left_for.taken, 0))
set_left(account, account.left - amount, 0, 'carried', (left_for.to:gsub('^user:', '')))
left_for.taken = math.min(left_for.taken + amount, MOST)
put_text(account, 'v', whole(left_for.taken) .. ':' .. left_for.to)
save(account)
local over = next(account.holds) == nil and next(account.leases) == nil
return { 'took', whole(left_for.taken), over and '1' or '0' }
