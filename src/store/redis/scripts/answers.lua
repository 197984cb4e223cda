-- Prelude of the scripts of the answer cache, behind books.lua. Repeats rules/lru.rs, with bounds on the work of one call.
-- The index says which answers there are: one that it does not have is met by nobody and expires. All names expire.
-- KEYS: 1 the index, a hash: size, expiry and owner by the answer's key, `bytes` of all, `turn` of the latest use, name
-- of the `shelf`, which is another one after anything was forgotten;
-- 2 keys by latest use, 3 keys by expiry, 4 keys of forgotten answers to delete, 5 an answer

local INDEX, USED, ENDS, FORGOTTEN, ANSWER = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local MOST_DROPPED = 200
-- An index without answers lives as long as a call that has looked into it may last.
local LONGEST_CALL = 24 * 60 * 60 * 1000
local OTHERS = { bytes = true, turn = true, shelf = true }

local function name_of(key) return INDEX:sub(1, -#'index' - 1) .. key end

local function parsed(row)
  local size, expires, owner = row:match('^(%d+):(%d+):(.*)$')
  return { size = tonumber(size), expires = tonumber(expires), owner = owner }
end

local function find(key)
  local row = redis.call('HGET', INDEX, key)
  return row and parsed(row)
end

local function bytes() return tonumber(redis.call('HGET', INDEX, 'bytes') or 0) end

local function drop_answer(key, answer)
  redis.call('UNLINK', name_of(key))
  redis.call('HDEL', INDEX, key)
  if answer then redis.call('HINCRBY', INDEX, 'bytes', '-' .. whole(answer.size)) end
  redis.call('ZREM', USED, key)
  redis.call('ZREM', ENDS, key)
end

-- Returns how many of `most` were not dropped.
local function drop_expired(most)
  while most > 0 do
    local first = redis.call('ZRANGE', ENDS, 0, 0, 'WITHSCORES')
    if not first[1] or tonumber(first[2]) > now then break end
    drop_answer(first[1], find(first[1]))
    most = most - 1
  end
  return most
end

-- Returns the number of answers in the index.
local function rows()
  local count = redis.call('HLEN', INDEX)
  for name in pairs(OTHERS) do
    if redis.call('HGET', INDEX, name) then count = count - 1 end
  end
  return count
end

-- A server that evicts may have taken a part of what belongs together: then nothing is there.
local kept = redis.call('ZCARD', USED)
if redis.call('ZCARD', ENDS) ~= kept or rows() ~= kept then
  redis.call('UNLINK', INDEX, USED, ENDS)
end

