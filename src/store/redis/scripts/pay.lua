-- Changes the payments of a person's account, and its balance and group with them. Of a deleted account whose payments
-- are kept they change alone.
-- ARGV: 3 tenant, 4 version that the change was made from, 5 group that it was made from (empty: deleted), 6 the new
-- text, 7 tokens that the balance gains, 8 and 9 tokens that are taken back in all, before and after, 10 group that the
-- account moves to (empty: it stays), 11 moment at which the asking began, 12 ID of the event
-- The payments are a text: version, tokens that could not be taken back, the overrun then, the latest moment at which
-- they were confirmed, and what this script does not read.
local LONGEST_ASKING = 120000
local kept = redis.call('GET', KEYS[6])
local version, short, overrun, confirmed, text = (kept or '0:0:0:0:'):match('^(%d+):(%d+):(%d+):(%d+):(.*)$')
short, overrun, confirmed = tonumber(short), tonumber(overrun), tonumber(confirmed)
local gain, before, after, asked = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[11])
local is_deleted = false
local account, instead
if kept and redis.call('EXISTS', KEYS[1]) == 0 then
  local left_over = account_of('', 0, {})
  read_books(left_over)
  is_deleted = remains_until(left_over) > now
end

if not is_deleted then
  account, instead = open()
  if not account then return instead end
  if account.tenant ~= ARGV[3] then return { 'gone' } end
end
local group = account and group_of(account, 'user_') or ''
if version ~= ARGV[4] or group ~= ARGV[5] then return { 'changed' } end
-- A confirmation that is further ahead was made by a clock that is wrong.
if text ~= ARGV[6] and asked < confirmed and confirmed - asked <= LONGEST_ASKING then return { 'changed' } end

local taken, given = math.max(after - before, 0), math.max(before - after, 0)
if account then
  sweep(account)
  local used = math.max(account.overrun - overrun, 0)
  short = math.min(short + math.min(used, math.max(before - short, 0)), MOST)
  set_left(account, math.min(account.left + gain, MOST), 0, 'granted', ARGV[12])
  local got = math.min(taken, account.left)
  set_left(account, account.left - got, 0, 'takenBack', ARGV[12])
  short = math.min(short + taken - got, MOST)
  local filled = math.min(given, short)
  set_left(account, math.min(account.left + given - filled, MOST), 0, 'givenBack', ARGV[12])
  short = short - filled
  overrun = account.overrun
  if ARGV[10] ~= '' then
    account.text_after = with_string(account.text, 'group', ARGV[10])
    account.refilled = now
    put(account, 'r', '', now)
  end
else
  short = math.max(math.min(short + taken, MOST) - given, 0)
  overrun = 0
end
-- A repeat is no change, so that any number of them at once stand in nobody's way. It is written all the same, so that
-- WAIT waits until replicas have it.
if text ~= ARGV[6] or version == '0' then version = whole(tonumber(version) + 1) end
local parts = { version, whole(short), whole(overrun), whole(math.max(confirmed, asked)), ARGV[6] }
redis.call('SET', KEYS[6], table.concat(parts, ':'), 'KEEPTTL')
if not account then return { 'paid', '0', whole(short) } end
save(account)
return { 'paid', whole(account.left), whole(short) }
