-- Removes what leads from a name to an account, and never a record.
local account, instead = open()
if account or instead[1] ~= 'elsewhere' then return { 'kept' } end
redis.call('DEL', KEYS[1])
return { 'removed' }
