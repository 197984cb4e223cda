-- Adds to the balance or takes from it, once per id; only what is free is taken.
-- ARGV: 3 id, 4 amount, 5 whether it is taken ('1'), 6 note
local account, instead = open()
if not account then return instead end
sweep(account)
local id, amount, is_debit = ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1'
local outcome = 'added'
local room = is_debit and free(account) or MOST - account.left
if account.credits[id] then
  outcome = 'repeated'
  -- Written again, so that WAIT after a repeat waits until replicas have it.
  put(account, 'c', id, account.credits[id])
elseif amount > room then
  outcome = 'too much'
else
  local left = is_debit and account.left - amount or account.left + amount
  set_left(account, left, 0, is_debit and 'debited' or 'credited', id, ARGV[6])
  account.credits[id] = now + CREDIT_MARK_LIFE
  put(account, 'c', id, account.credits[id])
end
save(account)
return { outcome, whole(account.left), whole(room) }
