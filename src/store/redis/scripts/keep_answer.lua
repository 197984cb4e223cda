-- Keeps an answer in place of one of the same key, and drops the least recently used until all fit.
-- ARGV: 3 its key, 4 size, 5 life in ms, 6 bound of the sizes of all, 7 owner, 8 name of the shelf that was found or '', 9 the answer
local key, size, life, most = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
if ARGV[8] ~= '' and redis.call('HGET', INDEX, 'shelf') ~= ARGV[8] then return { 'late' } end
local left = drop_expired(MOST_DROPPED)
local before = find(key)
if before then drop_answer(key, before) end
while bytes() + size > most do
  if left == 0 then return { 'crowded' } end
  local oldest = redis.call('ZRANGE', USED, 0, 0)[1]
  if not oldest then break end
  drop_answer(oldest, find(oldest))
  left = left - 1
end
redis.call('SET', ANSWER, ARGV[9], 'PX', whole(math.max(life, 1)))
redis.call('HSET', INDEX, key, whole(size) .. ':' .. whole(now + life) .. ':' .. ARGV[7])
redis.call('HINCRBY', INDEX, 'bytes', whole(size))
redis.call('ZADD', USED, whole(redis.call('HINCRBY', INDEX, 'turn', 1)), key)
redis.call('ZADD', ENDS, whole(now + life), key)
local last = tonumber(redis.call('ZRANGE', ENDS, -1, -1, 'WITHSCORES')[2])
for _, name in ipairs({ INDEX, USED, ENDS }) do
  redis.call('PEXPIRE', name, whole(math.max(last - now, 1)))
end
return { 'kept' }
