-- Holds tokens for a request, if key, window, concurrency and balance allow it.
-- ARGV: 3 id, 4 least, 5 most, 6 open, 7 known, 8 ttl in ms, 9 tenant, 10 first five characters of the key, 11 the key's id, with a
-- '=' before it where the account is no person's, 12... groups
local account, instead = open()
if not account then return instead end
local known_here, key = standing(account, ARGV[9], ARGV[11])
if not known_here then return { 'gone' } end
local id, least, most = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local known, ttl = tonumber(ARGV[7]), tonumber(ARGV[8])
local bound = key and key.most and tonumber(ARGV[11], 16)
local group = group_of(account, ARGV[10])
local limits = limits_of(group, 12)
local limit, span = limits.limit, limits.span
local is_new = not account.tally
sweep(account)
refill(account, limits.refill, limits.every)

local today = whole(math.floor(now / DAY))

local function answer(kind, amount)
  save(account)
  if kind == 'granted' and key and key.used ~= today then
    redis.call('HSET', KEYS[3], ARGV[11], today .. key.rest)
  end
  local words = { kind, group, whole(amount), whole(account.left), pace(account, limit, span) }
  for _, word in ipairs({ arriving(account) }) do words[#words + 1] = word end
  words[#words + 1] = key and key.text or ''
  words[#words + 1] = account.label
  words[#words + 1] = is_new and '1' or '0'
  return words
end

local hold = account.holds[id]
if hold then return answer('granted', hold.max) end
if account.marks[id] then return answer('held', 0) end
if account.suspended then return answer('suspended', 0) end
if limit and room(account.slices, limit, span) == 0 then
  return answer('limited', wait(account.slices, limit, span))
end
local unspent, spare = MOST, free(account)
if bound then
  unspent = math.max(key.most - (account.by_key[bound] or 0), 0)
  local held = 0
  for _, other in pairs(account.holds) do
    if other.key == bound then held = math.min(held + other.max, MOST) end
  end
  spare = math.min(spare, math.max(unspent - held, 0))
end
local crowded = limits.concurrent and in_flight(account) >= limits.concurrent
if crowded or spare < least then
  local kind = 'held'
  if account.left < least then kind = 'spent'
  elseif unspent < least then kind = 'key spent'
  elseif crowded then kind = 'crowded' end
  return answer(kind, 0)
end
local quarter = math.min(least + math.floor(spare / 4), tonumber(ARGV[6]))
local held = math.min(math.max(most, least, quarter), spare)
put_hold(account, id, { max = held, known = math.min(known, held), expires = now + ttl, key = bound })
if limit then count(account, limit, span, 1) end
account.bind = ARGV[9]
return answer('granted', held)
