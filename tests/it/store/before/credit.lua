-- Script of the release before accounts of people came in, as it ran it; nothing below this line is changed.
-- Adds to the balance, once per id. ARGV: 3 id, 4 amount
local account, instead = open()
if not account then return instead end
sweep(account)
local id, amount = ARGV[3], tonumber(ARGV[4])
local outcome = 'added'
if account.credits[id] then
  outcome = 'repeated'
  -- Written again, so that WAIT after a repeat waits until replicas have it.
  put(account, 'c', id, account.credits[id])
elseif amount > MOST - account.left then
  outcome = 'too much'
else
  account.left = account.left + amount
  account.credits[id] = now + CREDIT_MARK_LIFE
  put(account, 'c', id, account.credits[id])
end
save(account)
return { outcome, whole(account.left) }
