-- Forgets all answers of a tenant. From the first step on none is met any more; each step deletes some of them.
-- ARGV: 3 whether this is the first step ('1' or '0')
local gone = 0
if ARGV[3] == '1' then
  drop_expired(MOST_DROPPED)
  gone = redis.call('ZCARD', USED)
  if gone > 0 and redis.call('EXISTS', FORGOTTEN) == 0 then redis.call('RENAME', USED, FORGOTTEN) end
  -- Where an earlier call broke off, its answers are deleted and these expire.
  redis.call('UNLINK', INDEX, USED, ENDS)
end
for _, key in ipairs(redis.call('ZRANGE', FORGOTTEN, 0, MOST_DROPPED - 1)) do
  -- One that was kept again since is another.
  if not find(key) then redis.call('UNLINK', name_of(key)) end
  redis.call('ZREM', FORGOTTEN, key)
end
return { redis.call('EXISTS', FORGOTTEN) == 1 and 'more' or 'done', whole(gone) }
