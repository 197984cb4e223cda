-- Changes what an admin may change of an account; nothing where the balance cannot be changed.
-- ARGV: 3 id of a credit (empty: none), 4 amount, 5 whether it is taken ('1'), 6 note, 7 life in ms (empty: as it is, 0: no
-- end), 8... names of members, each with its JSON value
local account, instead = open()
if not account then return instead end
sweep(account)
local outcome, room = 'added', 0
if ARGV[3] ~= '' then outcome, room = add_credit(account, ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6]) end
if outcome ~= 'too much' then
  account.text_after = account.text
  for i = 8, #ARGV, 2 do
    account.text_after = with_word(account.text_after, ARGV[i], ARGV[i + 1])
    if ARGV[i] == 'group' then
      account.refilled = now
      put(account, 'r', '', now)
    end
  end
  if ARGV[7] == '0' then
    redis.call('PERSIST', KEYS[1])
  elseif ARGV[7] ~= '' then
    redis.call('PEXPIRE', KEYS[1], ARGV[7])
  end
end
save(account)
if outcome ~= 'too much' and ARGV[7] ~= '' then
  for i = 2, 5 do
    if ARGV[7] == '0' then redis.call('PERSIST', KEYS[i]) else redis.call('PEXPIRE', KEYS[i], ARGV[7]) end
  end
end
return { outcome, whole(account.left), whole(room) }
