-- Sums that must agree. A row here is a fault: of ours, or of a hand that changed a table.
create view copperplate.credit_faults
with (security_invoker = true)
as
with earned as (
    select
        l.account_id,
        sum(l.delta) as total
    from copperplate.credit_ledger as l
    group by l.account_id
),

held as (
    select
        r.account_id,
        sum(r.amount) as total
    from copperplate.reservations as r
    where r.state = 'held'
    group by r.account_id
),

taken as (
    select
        l.account_id,
        l.ref,
        sum(l.delta) as total
    from copperplate.credit_ledger as l
    where l.kind in ('settle', 'refund')
    group by l.account_id, l.ref
),

sums as (
    select
        a.id as account_id,
        'balance is not the sum of the ledger' as fault,
        a.balance as found,
        coalesce(e.total, 0) as expected
    from copperplate.accounts as a
    left join earned as e on a.id = e.account_id
    union all
    select
        a.id as account_id,
        'held is not the sum of open reservations' as fault,
        a.held as found,
        coalesce(h.total, 0) as expected
    from copperplate.accounts as a
    left join held as h on a.id = h.account_id
    union all
    select
        coalesce(r.account_id, t.account_id) as account_id,
        'a reservation and the ledger disagree' as fault,
        coalesce(t.total, 0) as found,
        case r.state when 'settled' then -r.amount else 0 end as expected
    from copperplate.reservations as r
    full join taken as t on r.id::text = t.ref and r.account_id = t.account_id
)

select
    s.account_id,
    s.fault,
    s.found,
    s.expected
from sums as s
where s.found <> s.expected;

comment on view copperplate.credit_faults is
'Accounts whose sums do not agree with ledger and reservations; empty, always.';
revoke all on table copperplate.credit_faults from public, anon, authenticated, service_role;
grant select on table copperplate.credit_faults to service_role;

create function public.audit_credits()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'accounts', (select count(*) from copperplate.accounts),
        'balance', (select coalesce(sum(a.balance), 0) from copperplate.accounts as a),
        'held', (
            select coalesce(sum(r.amount), 0)
            from copperplate.reservations as r
            where r.state = 'held' and not copperplate.is_lapsed(r)
        ),
        'granted', coalesce(sum(l.delta) filter (where l.kind = 'grant'), 0),
        'settled', coalesce(-sum(l.delta) filter (where l.kind = 'settle'), 0),
        'refunded', coalesce(sum(l.delta) filter (where l.kind = 'refund'), 0),
        'faults', (select coalesce(jsonb_agg(to_jsonb(f)), '[]') from copperplate.credit_faults as f)
    )
    from copperplate.credit_ledger as l;
$$;

comment on function public.audit_credits() is
'Sums over all accounts, and faults: accounts whose sums do not agree, of which there should be none. held is what
pictures hold that are being made.';
revoke all on function public.audit_credits() from public, anon, authenticated;
grant execute on function public.audit_credits() to service_role;
