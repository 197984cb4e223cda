-- Gives a key's record, or what leads from it to an account, another name. Its books and its expiry go with it.
-- KEYS: 1 the old name, 2 its books, 3 the new name, 4 its books
-- Lists and hashes are another program's.
local text = redis.pcall('GET', KEYS[1])
if type(text) ~= 'string' then return { 'gone' } end
if redis.call('EXISTS', KEYS[3]) == 1 then return { 'taken' } end
redis.call('RENAME', KEYS[1], KEYS[3])
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('RENAME', KEYS[2], KEYS[4]) end
return { 'renamed' }
