-- One event under a name, if its window has room. KEYS: 1, 2 the counter. ARGV: 3 limit, 4 span
local limit, span = tonumber(ARGV[3]), tonumber(ARGV[4])
local slices = {}
local flat = redis.call('HGETALL', KEYS[1])
for i = 1, #flat, 2 do
  local stop = tonumber(flat[i])
  if stop > oldest(span) then
    slices[stop] = tonumber(flat[i + 1])
  else
    redis.call('HDEL', KEYS[1], flat[i])
  end
end
if room(slices, limit, span) == 0 then return { 'limited', whole(wait(slices, limit, span)) } end
redis.call('HINCRBY', KEYS[1], whole(slice_end(span)), 1)
redis.call('PEXPIRE', KEYS[1], whole(span * 2))
return { 'passed' }
