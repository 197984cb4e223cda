-- Prelude of every script: reads, sweeps, changes and writes one account. Repeats the rules of
-- rules/account.rs and rules/record.rs line for line; a property test compares them.
-- The record's text is never decoded and encoded again: only the number in it is replaced.
-- KEYS: 1 the record, 2 its books, 3 the keys of a person's account, 4 its latest postings, 5 the sums of older ones,
-- 6 its payments (some scripts). ARGV: 1 now in ms (empty: the server's clock), 2 the charge of orphans ('known' or
-- 'spend'), and for how many ms postings are kept whole

local MOST = 9007199254740991
local MARK_LIFE = 86400000
local CREDIT_MARK_LIFE = 7776000000
local WHOLE_POSTINGS = 1000
local POSTINGS_PER_FOLD = 100
local NUMBERS_PER_MILLISECOND = 1000

local function whole(n) return string.format('%.0f', n) end

local now
if ARGV[1] == '' then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
else
  now = tonumber(ARGV[1])
end
local orphans, whole_for = ARGV[2]:match('^(%a+) (%d+)$')
local spend_orphans = orphans == 'spend'

-- Text: offsets of the record's fields -----------------------------------------------------------

local function skip(text, at) return text:find('[^ \t\n\r]', at) or #text + 1 end

local function string_end(text, at)
  if text:sub(at, at) ~= '"' then return nil end
  at = at + 1
  while true do
    local stop = text:find('["\\]', at)
    if not stop then return nil end
    if text:sub(stop, stop) == '"' then return stop + 1 end
    at = stop + 2
  end
end

local function value_end(text, at)
  local first = text:sub(at, at)
  if first == '"' then return string_end(text, at) end
  if first == '{' or first == '[' then
    local depth = 0
    while true do
      at = text:find('["{}%[%]]', at)
      if not at then return nil end
      local c = text:sub(at, at)
      if c == '"' then
        at = string_end(text, at)
        if not at then return nil end
      else
        depth = depth + ((c == '{' or c == '[') and 1 or -1)
        at = at + 1
        if depth == 0 then return at end
      end
    end
  end
  local stop = text:find('[,}%] \t\n\r]', at) or #text + 1
  if stop == at then return nil end
  return stop
end

local KNOWN = {
  tokensLeft = true, tenantId = true, group = true, account = true, createdAt = true, label = true, suspended = true,
  opensTo = true, userId = true,
}

local function fields(text)
  local found = {}
  local at = skip(text, 1)
  if text:sub(at, at) ~= '{' then return nil end
  at = skip(text, at + 1)
  while true do
    if text:sub(at, at) == '}' then
      found.stop = at
      return found
    end
    local name_end = string_end(text, at)
    if not name_end then return nil end
    local name = text:sub(at + 1, name_end - 2)
    at = skip(text, name_end)
    if text:sub(at, at) ~= ':' then return nil end
    at = skip(text, at + 1)
    local stop = value_end(text, at)
    if not stop then return nil end
    if KNOWN[name] then found[name] = { at, stop } end
    at = skip(text, stop)
    local c = text:sub(at, at)
    if c == ',' then at = skip(text, at + 1) elseif c ~= '}' then return nil end
  end
end

local function balance(word)
  if #word > 16 or not word:match('^%d+$') then return nil end
  local amount = tonumber(word)
  return amount <= MOST and amount or nil
end

local function plain_string(text, place)
  local inner = place and text:sub(place[1], place[2] - 1):match('^"(.*)"$')
  return inner and not inner:find('\\', 1, true) and inner or nil
end

local function with_word(text, name, word)
  local found = fields(text)
  local place = found[name]
  if place then
    return text:sub(1, place[1] - 1) .. word .. text:sub(place[2])
  end
  return text:sub(1, found.stop - 1) .. ',"' .. name .. '":' .. word .. text:sub(found.stop)
end

local function with_string(text, name, value) return with_word(text, name, '"' .. value .. '"') end

-- Time -------------------------------------------------------------------------------------------

local DAY = 86400000

-- Returns when the day began that an RFC 3339 text begins with; 0 if it begins with none since 1970.
local function day_start(text)
  local year, month, day = (text or ''):match('^(%d%d%d%d)%-(%d%d)%-(%d%d)')
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if not year or year < 1970 or month < 1 or month > 12 or day < 1 or day > 31 then return 0 end
  if month <= 2 then year = year - 1 end
  local era = math.floor(year / 400)
  local of_era = year - era * 400
  local of_year = math.floor((153 * (month > 2 and month - 3 or month + 9) + 2) / 5) + day - 1
  local days = era * 146097 + of_era * 365 + math.floor(of_era / 4) - math.floor(of_era / 100) + of_year
  return math.max(days - 719468, 0) * DAY
end

-- Returns when the period began that `now` belongs to.
local function period_start(every)
  local days = math.floor(now / DAY)
  if every ~= 'month' then return days * DAY end
  local of_era = (days + 719468) % 146097
  local year = math.floor((of_era - math.floor(of_era / 1460) + math.floor(of_era / 36524) - math.floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local month = math.floor((5 * of_year + 2) / 153)
  return (days - (of_year - math.floor((153 * month + 2) / 5))) * DAY
end

-- The account ------------------------------------------------------------------------------------

-- Reads the books into the account. Fields: h hold, l lease, m mark of what was charged, c credit, s slice,
-- o overrun, k what a key has spent, r refill, v balance that left, f balance that arrives, t ID token, i identity,
-- a Apple's refresh token, d what a deleted account leaves, p the number of the latest posting and the balance after it.
local function read_books(account)
  local flat = redis.call('HGETALL', KEYS[2])
  for i = 1, #flat, 2 do
    local kind, id, value = flat[i]:sub(1, 1), flat[i]:sub(3), flat[i + 1]
    if kind == 'v' then
      local taken, to = value:match('^(%d+):(.*)$')
      account.left_for = { taken = tonumber(taken), to = to }
    elseif kind == 'a' then account.apple = value
    elseif kind == 'f' then
      local received, most, over, from = value:match('^(%d+):(%d+):(%d):(.*)$')
      account.carry = { received = tonumber(received), most = tonumber(most), over = over == '1', from = from }
    else
      local a, b, c, d, e, f, g = value:match('^(%d+):?(%d*):?(%d*):?(%d*):?(%d*):?(%d*):?(%d*)$')
      a, b, c, d = tonumber(a), tonumber(b), tonumber(c), tonumber(d)
      e, f, g = tonumber(e), tonumber(f), tonumber(g)
      if kind == 'h' then account.holds[id] = { max = a, known = b, expires = c, key = d }
      elseif kind == 'l' then account.leases[id] = { amount = a, expires = b, number = c, granted = d, slots = e, slots_until = f or 0, told = g }
      elseif kind == 'm' then account.marks[id] = { charged = a, expires = b, number = c, told = d, key = e }
      elseif kind == 'c' then account.credits[id] = a
      elseif kind == 's' then account.slices[tonumber(id)] = a
      elseif kind == 'k' then account.by_key[tonumber(id)] = a
      elseif kind == 't' then account.founders[id] = a
      elseif kind == 'i' then account.identities[id] = a
      elseif kind == 'r' then account.refilled = a
      elseif kind == 'p' then account.tally = { number = a, balance = b }
      elseif kind == 'd' then account.remains = { tokens = a, ends = b }
      elseif kind == 'o' then account.overrun = a end
    end
  end
end

-- Returns an account of this text, without its books.
local function account_of(text, left, found)
  return {
    text = text, left = left, before = left,
    tenant = plain_string(text, found.tenantId), group = plain_string(text, found.group),
    created = day_start(plain_string(text, found.createdAt)), label = plain_string(text, found.label) or '',
    suspended = found.suspended and text:sub(found.suspended[1], found.suspended[2] - 1) == 'true',
    opens_to = (plain_string(text, found.opensTo) or ''):match('^' .. ('[0-9a-f]'):rep(12) .. '$'),
    holds = {}, leases = {}, marks = {}, credits = {}, slices = {}, by_key = {}, founders = {}, identities = {},
    overrun = 0,
    set = {}, gone = {}, postings = {},
  }
end

-- Returns until when anything counts of what remains of a deleted account; 0: nothing remains.
local function remains_until(account)
  local last = account.remains and account.remains.ends or 0
  for _, expires in pairs(account.founders) do last = math.max(last, expires) end
  return last
end

-- Returns the account, or nil and the reply to send instead.
local function open()
  local text = redis.call('GET', KEYS[1])
  if not text then return nil, { 'gone' } end
  if text:sub(skip(text, 1), skip(text, 1)) ~= '{' then return nil, { 'elsewhere', 'user:' .. text } end
  local found = fields(text)
  if not found then return nil, { 'damaged', 'object' } end
  local elsewhere = not found.tokensLeft and plain_string(text, found.account)
  if elsewhere then return nil, { 'elsewhere', elsewhere } end
  local left = found.tokensLeft and balance(text:sub(found.tokensLeft[1], found.tokensLeft[2] - 1))
  if not left then return nil, { 'damaged', 'balance' } end
  local account = account_of(text, left, found)
  read_books(account)
  return account
end

-- Writes numbers, as many as there are; nil is left empty.
local function put(account, kind, id, ...)
  local parts, last = {}, 0
  for i = 1, select('#', ...) do
    local n = select(i, ...)
    parts[i] = n and whole(n) or ''
    if n then last = i end
  end
  account.set[kind .. ':' .. id] = table.concat(parts, ':', 1, last)
  account.gone[kind .. ':' .. id] = nil
end

local function put_text(account, kind, value)
  account.set[kind .. ':'] = value
  account.gone[kind .. ':'] = nil
end

local function put_carry(account)
  local carry = account.carry
  put_text(account, 'f', table.concat({ whole(carry.received), whole(carry.most), carry.over and '1' or '0', carry.from }, ':'))
end

local function drop(account, kind, id)
  account.gone[kind .. ':' .. id] = true
  account.set[kind .. ':' .. id] = nil
end

local function put_hold(account, id, hold)
  account.holds[id] = hold
  put(account, 'h', id, hold.max, hold.known, hold.expires, hold.key)
end

local function put_lease(account, id, lease)
  account.leases[id] = lease
  put(account, 'l', id, lease.amount, lease.expires, lease.number, lease.granted, lease.slots, lease.slots_until, lease.told)
end

local function put_mark(account, id, mark)
  account.marks[id] = mark
  put(account, 'm', id, mark.charged, mark.expires, mark.number, mark.told, mark.key)
end

-- The ledger ------------------------------------------------------------------------------------

local function escaped(text)
  return (text:gsub('[%c"\\]', function(c) return string.format('\\u%04x', c:byte()) end))
end

local function add_posting(account, amount, left, overrun, reason, id, note)
  local number = now * NUMBERS_PER_MILLISECOND
  if account.tally then number = math.max(number, account.tally.number + 1) end
  local parts = { '{"n":', whole(number), ',"t":', whole(now), ',"a":', whole(amount), ',"l":', whole(left), ',"r":"', reason, '"' }
  local function add(...)
    for i = 1, select('#', ...) do parts[#parts + 1] = (select(i, ...)) end
  end
  if overrun > 0 then add(',"o":', whole(overrun)) end
  if id ~= '' then add(',"id":"', escaped(id), '"') end
  if note ~= '' then add(',"d":', note) end
  parts[#parts + 1] = '}'
  account.postings[#account.postings + 1] = table.concat(parts)
  account.tally = { number = number, balance = left }
  put(account, 'p', '', number, left)
end

-- Sets the balance and posts the change, and before it what the ledger does not know of.
local function set_left(account, left, overrun, reason, id, note)
  local before = account.left
  account.left = left
  if left == before and overrun == 0 then return end
  local tally = account.tally
  if not tally then
    add_posting(account, before, before, 0, 'opened', '', '')
  elseif tally.balance ~= before then
    add_posting(account, before - tally.balance, before, 0, 'outside', '', '')
  end
  add_posting(account, left - before, left, overrun, reason, id, note or '')
end

-- Adds the sums of days that are not told apart any longer to those of day 0, once a day.
local function forget_days()
  local today = math.floor(now / DAY)
  if redis.call('HGET', KEYS[5], 'day') == whole(today) then return end
  redis.call('HSET', KEYS[5], 'day', whole(today))
  local oldest = math.floor(math.max(now - tonumber(whole_for), 0) / DAY)
  for _, field in ipairs(redis.call('HKEYS', KEYS[5])) do
    local day, rest = field:match('^(%d+)(:.*)$')
    if day and tonumber(day) > 0 and tonumber(day) < oldest then
      redis.pcall('HINCRBY', KEYS[5], '0' .. rest, redis.call('HGET', KEYS[5], field))
      redis.call('HDEL', KEYS[5], field)
    end
  end
end

-- Folds the oldest postings into sums where there are too many, or they are too old.
local function fold(length)
  local oldest = now - tonumber(whole_for)
  local has_folded = false
  local excess = length - WHOLE_POSTINGS
  if excess < POSTINGS_PER_FOLD then excess = 0 end
  while true do
    local text = redis.call('LINDEX', KEYS[4], 0)
    if not text then break end
    local at, amount, reason = text:match('^{"n":%d+,"t":(%d+),"a":(%-?%d+),"l":%d+,"r":"(%a+)"')
    if at and excess <= 0 and tonumber(at) >= oldest then break end
    redis.call('LPOP', KEYS[4])
    excess = excess - 1
    -- What another program pushed is dropped.
    if at then
      if reason == 'opened' then redis.call('DEL', KEYS[5]) end
      local field = whole(math.floor(tonumber(at) / DAY)) .. ':' .. reason
      redis.pcall('HINCRBY', KEYS[5], field .. ':n', 1)
      redis.pcall('HINCRBY', KEYS[5], field .. ':a', amount)
      has_folded = true
    end
  end
  if has_folded then forget_days() end
end

local function save_postings(account)
  local length = 0
  for i = 1, #account.postings, 1000 do
    length = redis.call('RPUSH', KEYS[4], unpack(account.postings, i, math.min(i + 999, #account.postings)))
  end
  if length > #account.postings then fold(length) end
  local life = redis.call('PTTL', KEYS[1])
  if life > 0 then
    redis.call('PEXPIRE', KEYS[4], life)
    redis.call('PEXPIRE', KEYS[5], life)
  elseif redis.call('PTTL', KEYS[4]) > 0 then
    redis.call('PERSIST', KEYS[4])
    redis.call('PERSIST', KEYS[5])
  end
end

-- Writes what changed. The books and the ledger expire with their record.
local function save(account)
  local text = account.text_after or account.text
  if account.left ~= account.before then
    local place = fields(text).tokensLeft
    text = text:sub(1, place[1] - 1) .. whole(account.left) .. text:sub(place[2])
  end
  if account.bind and not account.tenant then text = with_string(text, 'tenantId', account.bind) end
  if account.fresh or text ~= account.text then redis.call('SET', KEYS[1], text, 'KEEPTTL') end
  if #account.postings > 0 then save_postings(account) end
  local gone, set = {}, {}
  for field in pairs(account.gone) do gone[#gone + 1] = field end
  for field, value in pairs(account.set) do
    set[#set + 1] = field
    set[#set + 1] = value
  end
  -- unpack() and a command take a limited number of arguments: write them in chunks.
  for i = 1, #gone, 1000 do redis.call('HDEL', KEYS[2], unpack(gone, i, math.min(i + 999, #gone))) end
  for i = 1, #set, 1000 do redis.call('HSET', KEYS[2], unpack(set, i, math.min(i + 999, #set))) end
  if #set > 0 then
    local life = redis.call('PTTL', KEYS[1])
    if life > 0 then
      redis.call('PEXPIRE', KEYS[2], life)
    elseif redis.call('PTTL', KEYS[2]) > 0 then
      redis.call('PERSIST', KEYS[2])
    end
  end
end

local function claimed(account)
  local sum = 0
  for _, hold in pairs(account.holds) do sum = sum + hold.max end
  for _, lease in pairs(account.leases) do sum = sum + lease.amount end
  return math.min(sum, MOST)
end

local function in_flight(account)
  local requests = 0
  for _ in pairs(account.holds) do requests = requests + 1 end
  return requests
end

local function free(account) return math.max(account.left - claimed(account), 0) end

local function charge(account, used, reason, id, note)
  local charged = math.min(used, account.left)
  local overrun = used - charged
  set_left(account, account.left - charged, overrun, reason, id, note)
  if overrun > 0 then
    account.overrun = math.min(account.overrun + overrun, MOST)
    put(account, 'o', '', account.overrun)
  end
  return charged, overrun
end

-- Charges a request, to its key too where that has a bound.
local function charge_to(account, key, used, reason, id, note)
  if key and used > 0 then
    account.by_key[key] = math.min((account.by_key[key] or 0) + used, MOST)
    put(account, 'k', whole(key), account.by_key[key])
  end
  return charge(account, used, reason, id, note)
end

-- Raises the balance to the group's refill, once a period.
local function refill(account, tokens, every)
  if tokens and period_start(every) > (account.refilled or account.created) then
    set_left(account, math.max(account.left, tokens), 0, 'refilled', '')
    account.refilled = now
    put(account, 'r', '', now)
  end
end

local function sweep_founders(account)
  for hash, expires in pairs(account.founders) do
    if expires <= now then
      account.founders[hash] = nil
      drop(account, 't', hash)
    end
  end
end

-- Returns the IDs of what has expired, in their order: so postings have one.
local function expired(of)
  local ids = {}
  for id, item in pairs(of) do
    if item.expires <= now then ids[#ids + 1] = id end
  end
  table.sort(ids)
  return ids
end

local function sweep(account)
  for _, id in ipairs(expired(account.holds)) do
    local hold = account.holds[id]
    local cost = spend_orphans and hold.max or hold.known
    charge_to(account, hold.key, cost, 'expired', id)
    account.holds[id] = nil
    drop(account, 'h', id)
    put_mark(account, id, { charged = cost, expires = now + MARK_LIFE, number = 0, key = hold.key })
  end
  for _, id in ipairs(expired(account.leases)) do
    local lease = account.leases[id]
    local cost = spend_orphans and lease.amount or 0
    charge(account, cost, 'expired', id)
    account.leases[id] = nil
    drop(account, 'l', id)
    put_mark(account, id, { charged = cost, expires = now + MARK_LIFE, number = lease.number, told = lease.told })
  end
  for id, mark in pairs(account.marks) do
    if mark.expires <= now then
      account.marks[id] = nil
      drop(account, 'm', id)
    end
  end
  for id, expires in pairs(account.credits) do
    if expires <= now then
      account.credits[id] = nil
      drop(account, 'c', id)
    end
  end
  sweep_founders(account)
end

-- Adds to the balance or takes from it, once per id. Returns the outcome, and how much could be.
local function add_credit(account, id, amount, is_debit, note)
  local room = is_debit and free(account) or MOST - account.left
  if account.credits[id] then
    -- Written again, so that WAIT after a repeat waits until replicas have it.
    put(account, 'c', id, account.credits[id])
    return 'repeated', room
  end
  if amount > room then return 'too much', room end
  local left = is_debit and account.left - amount or account.left + amount
  set_left(account, left, 0, is_debit and 'debited' or 'credited', id, note)
  account.credits[id] = now + CREDIT_MARK_LIFE
  put(account, 'c', id, account.credits[id])
  return 'added', room
end

-- The window -------------------------------------------------------------------------------------

local function oldest(span) return math.max(now - span, 0) end

local function room(slices, limit, span)
  local used = 0
  for stop, count in pairs(slices) do
    if stop > oldest(span) then used = used + count end
  end
  return math.max(limit - used, 0)
end

local function slice_end(span)
  local slice = math.max(math.floor(span / 10), 1)
  return (math.floor(now / slice) + 1) * slice
end

local function wait(slices, limit, span)
  local stops, used = {}, 0
  for stop, count in pairs(slices) do
    if stop > oldest(span) then
      stops[#stops + 1] = stop
      used = used + count
    end
  end
  table.sort(stops)
  for _, stop in ipairs(stops) do
    if used < limit then break end
    used = used - slices[stop]
    if used < limit then return math.max(stop + span - now, 0) end
  end
  return limit > 0 and 0 or span
end

local function count(account, limit, span, requests)
  for stop in pairs(account.slices) do
    if stop <= oldest(span) then
      account.slices[stop] = nil
      drop(account, 's', whole(stop))
    end
  end
  if requests > 0 then
    local stop = slice_end(span)
    account.slices[stop] = (account.slices[stop] or 0) + requests
    put(account, 's', whole(stop), account.slices[stop])
  end
end

-- Returns three strings for the reply: the limit (empty: none), requests remaining, ms until all are free.
local function pace(account, limit, span)
  if not limit then return '', '0', '0' end
  local newest
  for stop in pairs(account.slices) do
    if stop > oldest(span) and (not newest or stop > newest) then newest = stop end
  end
  local reset = newest and math.max(newest + span - now, 0) or 0
  return whole(limit), whole(room(account.slices, limit, span)), whole(reset)
end

-- Groups are six arguments each from ARGV[first] on: name, limit (empty: none), span in ms, concurrent calls
-- (empty: any), refill in tokens (empty: none) and its period. A group that is not listed has the limits of
-- 'anonymous'.
local function group_of(account, key)
  if account.group then return account.group end
  if key:sub(1, 5) == 'user_' then return 'google_logged_in' end
  return 'anonymous'
end

local function limits_of(group, first)
  local function of(wanted)
    for i = first, #ARGV, 6 do
      if ARGV[i] == wanted then return i end
    end
  end
  local at = of(group) or of('anonymous')
  if not at then return {} end
  return {
    limit = tonumber(ARGV[at + 1]), span = tonumber(ARGV[at + 2]), concurrent = tonumber(ARGV[at + 3]),
    refill = tonumber(ARGV[at + 4]), every = ARGV[at + 5],
  }
end

-- A key of a person's account is a field of KEYS[3]: last day of use, expiry, most tokens (each may be empty),
-- creation, source, whether the account began with it, and a JSON text. Returns it, or nil if it has expired.
local function issued_key(id)
  local text = redis.call('HGET', KEYS[3], id)
  if not text then return nil end
  local used, expires, most, rest = text:match('^(%d*):(%d*):(%d*):(.*)$')
  if expires ~= '' and tonumber(expires) <= now then return nil end
  return { text = text, used = used, expires = tonumber(expires), most = tonumber(most), rest = ':' .. expires .. ':' .. most .. ':' .. rest }
end

-- Whether the account and the key belong to this tenant. The id has a '=' before it where the account is no person's; '*':
-- without a key.
-- Returns the key, where it is one of a person's.
local function standing(account, tenant, id)
  if account.tenant and account.tenant ~= tenant then return false end
  if account.left_for then return false end
  if id == '*' then return true end
  if id:sub(1, 1) == '=' then return not account.opens_to or account.opens_to == id:sub(2) end
  local key = issued_key(id)
  return key ~= nil, key
end

-- Returns three words for the reply: the account that a balance still arrives from (empty: none), the most of it,
-- what has come.
local function arriving(account)
  local carry = account.carry
  if not carry or carry.over then return '', '0', '0' end
  return carry.from, whole(carry.most), whole(carry.received)
end
