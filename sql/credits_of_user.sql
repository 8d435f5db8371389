-- How did a user come to the credits they have? Put the user's id in the next line; no rows: nobody granted any.
with asked as (select '00000000-0000-4000-8000-000000000000'::uuid as user_id),

account as (
    select
        c.id,
        c.held - copperplate.lapsed_credits(c.id) as held
    from copperplate.accounts as c
    inner join asked as a on c.user_id = a.user_id
)

select
    l.created_at as changed_at,
    l.kind,
    l.delta,
    sum(l.delta) over (order by l.id) as balance,
    c.held as held_now,
    case when l.kind = 'grant' then l.ref end as reference,
    r.generation_key,
    r.delivered_at
from account as c
inner join copperplate.credit_ledger as l on c.id = l.account_id
left join copperplate.reservations as r on l.kind <> 'grant' and l.ref = r.id::text and c.id = r.account_id
order by l.id;
