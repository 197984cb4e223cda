-- Forgets the answers of an owner in one page of the index. ARGV: 3 the owner, 4 cursor of the page, 5 name of the
-- shelf from now on
if ARGV[4] == '0' and redis.call('HGET', INDEX, 'shelf') then
  redis.call('HSET', INDEX, 'shelf', ARGV[5])
end
local page = redis.call('HSCAN', INDEX, ARGV[4], 'COUNT', MOST_DROPPED)
local gone = 0
for i = 1, #page[2], 2 do
  local key = page[2][i]
  local answer = not OTHERS[key] and parsed(page[2][i + 1])
  if answer and answer.owner == ARGV[3] then
    drop_answer(key, answer)
    if answer.expires > now then gone = gone + 1 end
  end
end
return { page[1], whole(gone) }
