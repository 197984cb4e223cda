-- Changes the payments of a person's account, and its balance and group with them.
-- ARGV: 3 tenant, 4 version that the change was made from, 5 group that it was made from, 6 the new text, 7 tokens that
-- the balance gains (negative: loses), 8 group that the account moves to (empty: it stays)
-- The payments are a text: version, tokens that could not be taken back, and what this script does not read.
local account, instead = open()
if not account then return instead end
if account.tenant ~= ARGV[3] then return { 'gone' } end
local version, short, text = (redis.call('GET', KEYS[4]) or '0:0:'):match('^(%d+):(%d+):(.*)$')
if version ~= ARGV[4] or group_of(account, 'user_') ~= ARGV[5] then return { 'changed' } end
sweep(account)
local gain
short, gain = tonumber(short), tonumber(ARGV[7])
if gain < 0 then
  local taken = math.min(-gain, account.left)
  account.left = account.left - taken
  short = math.min(short - gain - taken, MOST)
else
  local filled = math.min(gain, short)
  account.left = math.min(account.left + gain - filled, MOST)
  short = short - filled
end
if ARGV[8] ~= '' then
  account.text_after = with_string(account.text, 'group', ARGV[8])
  account.refilled = now
  put(account, 'r', '', now)
end
-- A repeat is no change, so that any number of them at once stand in nobody's way. It is written all the same, so that
-- WAIT waits until replicas have it.
if text ~= ARGV[6] or version == '0' then version = whole(tonumber(version) + 1) end
redis.call('SET', KEYS[4], version .. ':' .. whole(short) .. ':' .. ARGV[6])
save(account)
return { 'paid', whole(account.left), whole(short) }
