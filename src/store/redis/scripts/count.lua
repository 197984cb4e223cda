-- Counts one event under each name if every window has space, else under none.
-- KEYS: the counters. ARGV: 3... limit and span in ms of each
local longest = 0
for k, name in ipairs(KEYS) do
  local limit, span = tonumber(ARGV[2 * k + 1]), tonumber(ARGV[2 * k + 2])
  local slices = {}
  local flat = redis.call('HGETALL', name)
  for i = 1, #flat, 2 do
    local stop = tonumber(flat[i])
    if stop > oldest(span) then
      slices[stop] = tonumber(flat[i + 1])
    else
      redis.call('HDEL', name, flat[i])
    end
  end
  if room(slices, limit, span) == 0 then longest = math.max(longest, wait(slices, limit, span)) end
end
if longest > 0 then return { 'limited', whole(longest) } end
for k, name in ipairs(KEYS) do
  local span = tonumber(ARGV[2 * k + 2])
  redis.call('HINCRBY', name, whole(slice_end(span)), 1)
  redis.call('PEXPIRE', name, whole(span * 2))
end
return { 'passed' }
