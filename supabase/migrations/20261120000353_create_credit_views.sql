-- What signed-in people read of their own: credits, the ledger, pictures.

create view public.my_credits
with (security_invoker = true)
as
select
    a.balance,
    a.held - copperplate.lapsed_credits(a.id) as held,
    a.balance - a.held + copperplate.lapsed_credits(a.id) as available,
    a.created_at
from copperplate.accounts as a
where a.user_id = (select copperplate.signed_in_user());

comment on view public.my_credits is
'The credits of the user who is signed in: one row, or none before the first grant. held is reserved by pictures that
are being made.';
revoke all on table public.my_credits from public, anon, authenticated, service_role;
grant select on table public.my_credits to authenticated;

create view public.my_credit_ledger
with (security_invoker = true)
as
select
    l.id,
    l.delta,
    l.kind,
    l.ref,
    l.created_at
from copperplate.credit_ledger as l
inner join copperplate.accounts as a on l.account_id = a.id
where a.user_id = (select copperplate.signed_in_user());

comment on view public.my_credit_ledger is 'Every change of the credits of whoever is signed in.';
revoke all on table public.my_credit_ledger from public, anon, authenticated, service_role;
grant select on table public.my_credit_ledger to authenticated;

create view public.my_generations
with (security_invoker = true)
as
select
    r.id,
    r.generation_key as prompt_hash,
    r.kind,
    case
        when r.state = 'settled' then 'completed'
        when r.state = 'held' and not copperplate.is_lapsed(r) then 'generating'
        else 'failed'
    end as status,
    r.generated_url,
    case r.state when 'settled' then r.amount else 0 end as credits,
    r.created_at,
    r.closed_at
from copperplate.reservations as r
inner join copperplate.accounts as a on r.account_id = a.id
where a.user_id = (select copperplate.signed_in_user());

comment on view public.my_generations is
'The pictures whoever is signed in had made, and the credits they cost. What failed, or was gone before they were told
of it, cost none; generated_url is null once the picture is gone.';
revoke all on table public.my_generations from public, anon, authenticated, service_role;
grant select on table public.my_generations to authenticated;
