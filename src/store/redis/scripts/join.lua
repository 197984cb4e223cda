-- Adds a key to a person's account, and creates the account where there is none.
-- ARGV: 3 tenant, 4 the key's id, 5 its JSON text, 6 its source, 7 most keys of that source, 8 whether the oldest
-- ends ('1'), 9 life in ms (empty: none), 10 most tokens (empty: all), 11 record of a new account (empty: it must
-- exist), 12 hash of the ID token (empty: none), 13 when that is forgotten, 14 account of an earlier key (empty:
-- none), 15 the most that moves from it, 16 another identity that leads here, 17 Apple's refresh token (either may
-- be empty)
local created = redis.call('EXISTS', KEYS[1]) == 0
local account, instead
local last = 0

if created then
  if ARGV[11] == '' then return { 'absent' } end
  local found = fields(ARGV[11])
  account = account_of(ARGV[11], balance(ARGV[11]:sub(found.tokensLeft[1], found.tokensLeft[2] - 1)), found)
  account.fresh = true
  read_books(account)
  sweep_founders(account)
  -- What is kept of a deleted account's payments is this one's as long as anything of it counts.
  last = remains_until(account)
  if ARGV[12] ~= '' then
    if account.founders[ARGV[12]] then return { 'replayed' } end
    put(account, 't', ARGV[12], tonumber(ARGV[13]))
  end
  put(account, 'r', '', now)
  drop(account, 'f', '')
  account.carry = nil
  drop(account, 'd', '')
  if account.remains and account.remains.ends > now then
    account.left = math.min(account.left, account.remains.tokens)
  elseif ARGV[14] ~= '' then
    account.carry = { received = 0, most = tonumber(ARGV[15]), from = ARGV[14] }
    put_carry(account)
  end
else
  account, instead = open()
  if not account then return instead end
end

local function joined(founded, ended)
  local words = { 'joined', founded and '1' or '0', whole(account.left), group_of(account, 'user_') }
  for _, word in ipairs({ arriving(account) }) do words[#words + 1] = word end
  for _, row in ipairs(ended) do words[#words + 1] = row end
  return words
end

local before = redis.call('HGET', KEYS[3], ARGV[4])
if before then return joined(before:match('^%d*:%d*:%d*:%d+:%d:(%d)') == '1', {}) end
if not created and account.tenant ~= ARGV[3] then return { 'absent' } end

-- Removes the keys that have expired, and the oldest of this source where there would be too many with one more.
local expired, live = {}, {}
local rows = redis.call('HGETALL', KEYS[3])
for i = 1, #rows, 2 do
  local id, row = rows[i], rows[i + 1]
  local expires, made, source = row:match('^%d*:(%d*):%d*:(%d+):(%d)')
  if expires ~= '' and tonumber(expires) <= now then
    expired[#expired + 1] = { id = id, row = row }
  elseif source == ARGV[6] then
    live[#live + 1] = { id = id, row = row, created = tonumber(made) }
  end
end
local excess = #live + 1 - tonumber(ARGV[7])
if excess > 0 and ARGV[8] ~= '1' then return { 'too many' } end
table.sort(live, function(a, b)
  if a.created ~= b.created then return a.created < b.created end
  return a.id < b.id
end)
table.sort(expired, function(a, b) return a.id < b.id end)
local ended = {}
local function remove(key)
  redis.call('HDEL', KEYS[3], key.id)
  local number = tonumber(key.id, 16)
  account.by_key[number] = nil
  drop(account, 'k', whole(number))
  ended[#ended + 1] = key.row
end
for _, key in ipairs(expired) do remove(key) end
for i = 1, math.max(excess, 0) do remove(live[i]) end

local expires = ARGV[9] ~= '' and whole(now + tonumber(ARGV[9])) or ''
local row = ':' .. expires .. ':' .. ARGV[10] .. ':' .. whole(now) .. ':' .. ARGV[6] .. ':'
redis.call('HSET', KEYS[3], ARGV[4], row .. (created and '1' or '0') .. ':' .. ARGV[5])
if ARGV[16] ~= '' and not account.identities[ARGV[16]] then put(account, 'i', ARGV[16], now) end
if ARGV[17] ~= '' then put_text(account, 'a', ARGV[17]) end
if created then
  if last > now then redis.call('PERSIST', KEYS[6]) else redis.call('DEL', KEYS[6]) end
end
save(account)
return joined(created, ended)
