-- Returns the live keys of a person's account: id, row and what each has spent.
local account, instead = open()
if not account then return instead end
local words = { 'keys' }
local rows = redis.call('HGETALL', KEYS[3])
for i = 1, #rows, 2 do
  local expires = rows[i + 1]:match('^%d*:(%d*):')
  if expires == '' or tonumber(expires) > now then
    words[#words + 1] = rows[i]
    words[#words + 1] = rows[i + 1]
    words[#words + 1] = whole(account.by_key[tonumber(rows[i], 16)] or 0)
  end
end
return words
