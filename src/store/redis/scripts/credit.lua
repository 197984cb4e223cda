-- Adds to the balance or takes from it, once per id; only what is free is taken.
-- ARGV: 3 id, 4 amount, 5 whether it is taken ('1'), 6 note
local account, instead = open()
if not account then return instead end
sweep(account)
local outcome, room = add_credit(account, ARGV[3], tonumber(ARGV[4]), ARGV[5] == '1', ARGV[6])
save(account)
return { outcome, whole(account.left), whole(room) }
