-- Changes names of keys in the list of a person's account, and the name that a balance still arrives from.
-- ARGV: 3... pairs of an old name and the new one
local account, instead = open()
if not account then return instead end
local new_names = {}
for i = 3, #ARGV, 2 do new_names[ARGV[i]] = ARGV[i + 1] end

local rows = redis.call('HGETALL', KEYS[3])
for i = 1, #rows, 2 do
  local start, name, rest = rows[i + 1]:match('^(.-"entry":")([^"]+)(".*)$')
  if name and new_names[name] then redis.call('HSET', KEYS[3], rows[i], start .. new_names[name] .. rest) end
end
if account.carry and new_names[account.carry.from] then
  account.carry.from = new_names[account.carry.from]
  put_carry(account)
  save(account)
end
return { 'done' }
