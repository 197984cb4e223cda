-- Returns the name of the tenant's shelf, and an answer that has not expired, which is marked as used now.
-- ARGV: 3 its key, 4 name of the shelf if there is none
local shelf = redis.call('HGET', INDEX, 'shelf')
if not shelf then
  shelf = ARGV[4]
  redis.call('HSET', INDEX, 'shelf', shelf)
  if redis.call('PTTL', INDEX) < 0 then redis.call('PEXPIRE', INDEX, LONGEST_CALL) end
end
local found = find(ARGV[3])
local answer = found and found.expires > now and redis.call('GET', ANSWER)
if not answer then
  if found then drop_answer(ARGV[3], found) end
  return { shelf }
end
redis.call('ZADD', USED, whole(redis.call('HINCRBY', INDEX, 'turn', 1)), ARGV[3])
return { shelf, answer }
