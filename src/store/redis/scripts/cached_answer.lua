-- Returns an answer that has not expired, and marks it as used now. ARGV: 3 its key
local found = find(ARGV[3])
local answer = found and found.expires > now and redis.call('GET', ANSWER)
if not answer then
  if found then drop_answer(ARGV[3], found) end
  return { 'none' }
end
redis.call('ZADD', USED, whole(redis.call('HINCRBY', INDEX, 'turn', 1)), ARGV[3])
return { 'found', answer }
