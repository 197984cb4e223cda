-- Enters keys or people in one shard of a tenant's lists. An ID has one entry: one that is there under the same name stays.
-- KEYS: 1 the shard. ARGV: 3 letter of the list, its small one looks up; 4... ID, creation in ms (13 digits), name
local big, small = ARGV[3], ARGV[3]:lower()
for i = 4, #ARGV, 3 do
  local id, created, name = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  local known = redis.call('ZRANGEBYLEX', KEYS[1], '[' .. small .. id .. ':', '(' .. small .. id .. ';', 'LIMIT', 0, 1)[1]
  local old = known and big .. known:sub(#small + #id + 2) .. ':' .. id .. ':'
  local entry = old and redis.call('ZRANGEBYLEX', KEYS[1], '[' .. old, '(' .. old .. '\255', 'LIMIT', 0, 1)[1]
  if not entry or entry:sub(#old + 1) ~= name then
    if known then redis.call('ZREM', KEYS[1], known) end
    if entry then redis.call('ZREM', KEYS[1], entry) end
    redis.call('ZADD', KEYS[1], 0, small .. id .. ':' .. created, 0, big .. created .. ':' .. id .. ':' .. name)
  end
end
return { 'entered' }
