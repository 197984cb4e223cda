-- Adds what has left another account in all and is not here yet.
-- ARGV: 3 the other account, 4 total, 5 whether nothing more can come ('1'), 6 the other account's hashed name, 7 its ID
local account, instead = open()
if not account then return instead end
local carry = account.carry
if not carry or carry.from ~= ARGV[3] and carry.from ~= ARGV[6] then return { 'received', '0', whole(account.left) } end
if not carry.over then
  local arrives = math.min(math.max(math.min(tonumber(ARGV[4]), carry.most) - carry.received, 0), MOST - account.left)
  carry.received = math.min(carry.received + arrives, MOST)
  carry.over = ARGV[5] == '1'
  set_left(account, account.left + arrives, 0, 'carried', ARGV[7])
  put_carry(account)
  save(account)
end
return { 'received', whole(carry.received), whole(account.left) }
