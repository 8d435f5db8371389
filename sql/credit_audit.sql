-- Which accounts have sums that do not agree with their ledger and reservations? None: a row here is a fault.
select
    f.account_id,
    a.user_id,
    f.fault,
    f.found,
    f.expected
from copperplate.credit_faults as f
left join copperplate.accounts as a on f.account_id = a.id
order by f.account_id, f.fault;
