-- Gives a key's record, or what leads from it to an account, another name. Its books, its ledger and its expiry go with it.
-- KEYS: 1 the old name, 2 its books, 3 its postings, 4 their sums, 5 to 8 the same of the new name
-- Lists and hashes are another program's.
local text = redis.pcall('GET', KEYS[1])
if type(text) ~= 'string' then return { 'gone' } end
if redis.call('EXISTS', KEYS[5]) == 1 then return { 'taken' } end
for i = 1, 4 do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('RENAME', KEYS[i], KEYS[i + 4]) end
end
return { 'renamed' }
