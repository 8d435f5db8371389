-- Credits: what signed-in people may have made for them. A generation reserves before anything is spent, is settled
-- when the picture is stored, and gives back what it could not deliver.
--
--             acquire_generation            complete_generation
--   (none) ─────────────────────► held ─────────────────────────► settled ──► delivered: stays so
--                                  │                                 │
--            fail, sweep, delete   ▼         gone before delivered   ▼
--            lapsed, and its    released                          refunded
--            owner asks
--
-- Lapsed: held for longer than its time, and no lease is on its generation. It counts as free wherever it is read,
-- whether a sweep came by or not.
--
-- The one lock order, of every function: generations, entries and discarded objects, breakers, reservations, accounts,
-- credit ledger and asks, submits, totals. Who takes several of a kind takes all of them before the first of the next,
-- in the order of their keys; accounts in the order of their ids.

-- Who is signed in, by the claims that PostgREST sets; null for everybody else. As auth.uid() says it, which a
-- Postgres without Supabase does not have.
create function copperplate.signed_in_user()
returns uuid
language sql
stable
security invoker
set search_path = ''
as $$
    select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid;
$$;

comment on function copperplate.signed_in_user() is 'The id of the user whose token came with this request, or null.';
revoke all on function copperplate.signed_in_user() from public, anon, authenticated;
grant execute on function copperplate.signed_in_user() to authenticated, service_role;

create table copperplate.accounts (
    -- Ours, and random: everything else names this one, so that a deleted user leaves sums and no trace.
    id uuid not null default gen_random_uuid(),
    -- Supabase's id of the user; null once the user is deleted.
    user_id uuid,
    balance bigint not null default 0,
    held bigint not null default 0,
    created_at timestamptz not null,
    constraint accounts_pkey primary key (id),
    constraint accounts_user_key unique (user_id),
    constraint accounts_balance_is_not_negative check (balance >= 0),
    constraint accounts_held_is_within_balance check (held between 0 and balance)
);

comment on table copperplate.accounts is
'Credits of signed-in people: balance, and what of it generations under way hold. A person sees their own row.';
comment on column copperplate.accounts.user_id is 'The user in auth.users; null once deleted.';

create table copperplate.credit_ledger (
    id bigint generated always as identity,
    account_id uuid not null,
    -- Credits; the balance of an account is the sum of these.
    delta bigint not null,
    kind text not null,
    -- What it was for: the reservation's id, or the reference given with a grant. Once per kind.
    ref text not null,
    created_at timestamptz not null,
    constraint credit_ledger_pkey primary key (id),
    constraint credit_ledger_account_fkey foreign key (account_id) references copperplate.accounts (id),
    constraint credit_ledger_ref_key unique (kind, ref),
    constraint credit_ledger_kind_is_known check (
        (kind = 'grant' and delta > 0)       -- somebody gave credits
        or (kind = 'settle' and delta < 0)   -- a picture was made
        or (kind = 'refund' and delta > 0)   -- it was gone before it was delivered
    )
);

create index credit_ledger_account_idx on copperplate.credit_ledger (account_id, id);

comment on table copperplate.credit_ledger is
'Every change of a balance, in order. Rows are added and never changed. A person sees the rows of their own account.';

create function copperplate.refuse_change()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    raise exception 'rows of % are never changed', tg_table_name
        using errcode = 'ZC010', hint = 'Add a row that corrects it.';
end;
$$;

comment on function copperplate.refuse_change() is 'Keeps a ledger append-only, for its owner too.';
revoke all on function copperplate.refuse_change() from public, anon, authenticated;
grant execute on function copperplate.refuse_change() to service_role;

create trigger credit_ledger_is_append_only
before update or delete on copperplate.credit_ledger
for each row execute function copperplate.refuse_change();

create table copperplate.reservations (
    id uuid not null default gen_random_uuid(),
    generation_key text not null,
    -- Of the generation, told here so that its payer needs to see nothing else of it.
    kind text not null,
    generated_url text,
    account_id uuid not null,
    amount bigint not null,
    state text not null default 'held',
    created_at timestamptz not null,
    -- A generation that nobody works on any more holds nothing beyond this.
    expires_at timestamptz not null,
    closed_at timestamptz,
    -- When the person was told where the picture is; from then on nothing is given back.
    delivered_at timestamptz,
    constraint reservations_pkey primary key (id),
    constraint reservations_account_fkey foreign key (account_id) references copperplate.accounts (id),
    constraint reservations_amount_is_positive check (amount > 0),
    constraint reservations_state_is_known check (
        state in (
            'held',      -- counted in accounts.held
            'settled',   -- taken from the balance
            'released',  -- nothing was taken
            'refunded'   -- taken and given back
        )
    ),
    constraint reservations_closed_has_time check ((state = 'held') = (closed_at is null)),
    constraint reservations_delivered_is_settled check (delivered_at is null or state = 'settled')
);

-- One per generation: a takeover inherits it.
create unique index reservations_held_idx on copperplate.reservations (generation_key) where state = 'held';
create index reservations_expiry_idx on copperplate.reservations (expires_at) where state = 'held';
-- For what happens when a generation goes.
create index reservations_generation_idx on copperplate.reservations (generation_key);
create index reservations_account_idx on copperplate.reservations (account_id, generation_key);
-- For what lapsed of an account, which is little beside what it holds, and that beside what it ever had made.
create index reservations_held_account_idx on copperplate.reservations (account_id, expires_at) where state = 'held';

comment on table copperplate.reservations is
'What generations reserved of somebody''s credits: held, settled, released or refunded. The generation''s key stays
when the generation goes. A person sees the rows of their own account.';

alter table copperplate.accounts enable row level security;
alter table copperplate.credit_ledger enable row level security;
alter table copperplate.reservations enable row level security;
revoke all on table copperplate.accounts from public, anon, authenticated, service_role;
revoke all on table copperplate.credit_ledger from public, anon, authenticated, service_role;
revoke all on table copperplate.reservations from public, anon, authenticated, service_role;
grant select on table copperplate.accounts to authenticated;
grant select on table copperplate.credit_ledger to authenticated;
grant select on table copperplate.reservations to authenticated;
grant select, insert, update, delete on table copperplate.accounts to service_role;
grant select, insert on table copperplate.credit_ledger to service_role;
grant select, insert, update on table copperplate.reservations to service_role;

create policy accounts_are_their_owners
on copperplate.accounts
for select
to authenticated
using (user_id = (select copperplate.signed_in_user()));

create policy credit_ledger_is_its_owners
on copperplate.credit_ledger
for select
to authenticated
using (
    account_id in (
        select a.id
        from copperplate.accounts as a
        where a.user_id = (select copperplate.signed_in_user())
    )
);

create policy reservations_are_their_owners
on copperplate.reservations
for select
to authenticated
using (
    account_id in (
        select a.id
        from copperplate.accounts as a
        where a.user_id = (select copperplate.signed_in_user())
    )
);

-- Security definer, with its owner's rights: a person sees their reservations, but no generation and no lease.
create function copperplate.is_lapsed(p_reservation copperplate.reservations)
returns boolean
language sql
stable
security definer
set search_path = ''
as $$
    select
        p_reservation.state = 'held' and p_reservation.expires_at < copperplate.clock()
        and not exists (
            select from public.generation_status as g
            where
                g.prompt_hash = p_reservation.generation_key and g.status in ('pending', 'generating')
                and g.lease_until > copperplate.clock()
        );
$$;

comment on function copperplate.is_lapsed(copperplate.reservations) is
'Whether a reservation is held for longer than its time while no lease is on its generation: it counts as free.';
revoke all on function copperplate.is_lapsed(copperplate.reservations) from public, anon, authenticated;
grant execute on function copperplate.is_lapsed(copperplate.reservations) to authenticated, service_role;

create function copperplate.lapsed_credits(p_account uuid)
returns bigint
language sql
stable
security invoker
set search_path = ''
as $$
    -- The time is read once, or no index could help: one call for each reservation that is held costs more than the rest.
    select coalesce(sum(r.amount), 0)::bigint
    from copperplate.reservations as r
    where
        r.account_id = p_account and r.state = 'held' and r.expires_at < (select copperplate.clock())
        and copperplate.is_lapsed(r);
$$;

comment on function copperplate.lapsed_credits(uuid) is
'What of accounts.held counts as free: credits of reservations that lapsed and were not released yet.';
revoke all on function copperplate.lapsed_credits(uuid) from public, anon, authenticated;
grant execute on function copperplate.lapsed_credits(uuid) to authenticated, service_role;

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

revoke all on table public.my_credits from public, anon, authenticated, service_role;
revoke all on table public.my_credit_ledger from public, anon, authenticated, service_role;
revoke all on table public.my_generations from public, anon, authenticated, service_role;
grant select on table public.my_credits to authenticated;
grant select on table public.my_credit_ledger to authenticated;
grant select on table public.my_generations to authenticated;

-- --- what the ledger's functions do with credits ----------------------------------------------

create function copperplate.release_for(p_generation_key text, p_accounts uuid[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_over uuid[];
begin
    -- Hardly ever is there anything to release, and looking is cheaper than releasing nothing.
    if
        not exists (
            select from copperplate.reservations as k
            where k.generation_key = p_generation_key and k.state = 'held'
        )
        and not exists (
            select from copperplate.reservations as l
            where l.account_id = any(p_accounts) and l.state = 'held' and l.expires_at < v_now
        )
    then
        return;
    end if;
    -- Waited for, not skipped: a sweep that holds one of them is about to release it, and its credit is needed here.
    -- State and time stand outside the subquery, so that they are read again after the wait: a takeover renewed them.
    v_over := array(
        select r.id
        from copperplate.reservations as r
        where
            r.state = 'held' and r.expires_at < copperplate.clock()
            and r.id in (
                select k.id
                from copperplate.reservations as k
                where k.generation_key = p_generation_key and k.state = 'held'
                union all
                select l.id
                from copperplate.reservations as l
                where
                    l.account_id = any(p_accounts) and l.state = 'held' and l.expires_at < v_now
                    and copperplate.is_lapsed(l)
            )
        order by r.id
        for update of r
    );
    if v_over = '{}' then
        return;
    end if;
    -- The accounts that are charged next as well, in one order with those that get something back.
    perform from copperplate.accounts as a
    where
        a.id = any(p_accounts)
        or a.id in (select r.account_id from copperplate.reservations as r where r.id = any(v_over))
    order by a.id
    for no key update;
    perform copperplate.release_all(v_over);
end;
$$;

comment on function copperplate.release_for(text, uuid[]) is
'Before a reservation is made: release what lapsed of these accounts, and what was held too long for this generation,
whose lease is the caller''s by now.';

create function copperplate.reserve_charges(p_generation_key text, p_charges jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_charge record;
    v_account uuid;
begin
    -- A takeover inherits what the first leader reserved, within its time. Written and not only looked at: a sweep
    -- that is about to release it has either done so when this returns, or finds that it may not. `is true` keeps the
    -- index by time out: of a table without statistics it would be read to its end.
    update copperplate.reservations as r
    set expires_at = v_now + interval '15 minutes'
    where r.generation_key = p_generation_key and r.state = 'held' and (r.expires_at >= v_now) is true;
    if found then
        return;
    end if;
    perform copperplate.release_for(p_generation_key, array(
        select a.id
        from copperplate.accounts as a
        where a.user_id = any(array(select c.user_id from jsonb_to_recordset(p_charges) as c (user_id uuid)))
    ));

    for v_charge in
        select c.kind, c.user_id, c.amount
        from jsonb_to_recordset(p_charges) as c (kind text, user_id uuid, amount bigint)
    loop
        if v_charge.kind is distinct from 'credit' then
            raise exception 'unknown kind of charge' using errcode = 'ZC005', hint = 'Known kinds: credit.';
        end if;
        -- Read and written in one: of two that want the last credit, one finds it gone.
        update copperplate.accounts as a
        set held = a.held + v_charge.amount
        where a.user_id = v_charge.user_id and a.balance - a.held >= v_charge.amount
        returning a.id into v_account;
        if not found then
            raise exception 'not enough credits' using errcode = 'ZC008', hint = 'Grant some, or wait.';
        end if;
        insert into copperplate.reservations (generation_key, kind, account_id, amount, created_at, expires_at)
        select g.prompt_hash, g.kind, v_account, v_charge.amount, v_now, v_now + interval '15 minutes'
        from public.generation_status as g
        where g.prompt_hash = p_generation_key;
    end loop;
end;
$$;

comment on function copperplate.reserve_charges(text, jsonb) is
'Reserve what a new leader is charged, [{kind, user_id, amount}], unless a predecessor did; what lapsed of the payers is
released first. ZC008 where an account cannot pay.';

create function copperplate.settle_reservation(p_generation_key text, p_url text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_reservation copperplate.reservations;
begin
    update copperplate.reservations as r
    set state = 'settled', closed_at = v_now, generated_url = p_url
    where r.generation_key = p_generation_key and r.state = 'held'
    returning r.* into v_reservation;
    if not found then
        return;
    end if;

    update copperplate.accounts as a
    set balance = a.balance - v_reservation.amount, held = a.held - v_reservation.amount
    where a.id = v_reservation.account_id;
    insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
    values (v_reservation.account_id, -v_reservation.amount, 'settle', v_reservation.id, v_now);
end;
$$;

comment on function copperplate.settle_reservation(text, text) is
'The picture is stored: what its generation reserved is taken from the account, once.';

create function copperplate.give_back(p_reservation uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_before copperplate.reservations;
begin
    select r.* into v_before
    from copperplate.reservations as r
    where r.id = p_reservation
    for update;
    if v_before.state is null or v_before.delivered_at is not null then
        return false;
    elsif v_before.state in ('released', 'refunded') then
        return true;
    end if;

    update copperplate.reservations as r
    set state = case v_before.state when 'held' then 'released' else 'refunded' end, closed_at = v_now
    where r.id = p_reservation;
    if v_before.state = 'held' then
        update copperplate.accounts as a
        set held = a.held - v_before.amount
        where a.id = v_before.account_id;
    else
        update copperplate.accounts as a
        set balance = a.balance + v_before.amount
        where a.id = v_before.account_id;
        insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
        values (v_before.account_id, v_before.amount, 'refund', p_reservation, v_now);
    end if;
    return true;
end;
$$;

comment on function copperplate.give_back(uuid) is
'Release what is held, refund what was settled and not delivered; false where it was delivered, or there is no such
reservation. A repeat answers the same and changes nothing.';

create function copperplate.release_all(p_reservations uuid[])
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.give_back(o.id)
    from (
        select r.id
        from copperplate.reservations as r
        where r.id = any(p_reservations)
        order by r.account_id, r.id
    ) as o;
$$;

comment on function copperplate.release_all(uuid[]) is
'Give these reservations back, accounts in one order. The caller has locked every one of them.';

create function copperplate.give_back_all(p_generation_keys text[])
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    -- Every reservation before the first account, and accounts in one order: two of these never wait for each other,
    -- nor does a sweep, which skips the reservations that are locked here.
    with locked as materialized (
        select
            r.id,
            r.account_id
        from copperplate.reservations as r
        where
            r.generation_key = any(p_generation_keys)
            and (r.state = 'held' or (r.state = 'settled' and r.delivered_at is null))
        order by r.id
        for update
    ),

    ordered as materialized (
        select l.id
        from locked as l
        order by l.account_id, l.id
    )

    select copperplate.give_back(o.id)
    from ordered as o;
$$;

comment on function copperplate.give_back_all(text[]) is
'Give back what these generations hold or never delivered: they failed, or are gone.';

create function copperplate.note_pictures_gone(p_generation_keys text[])
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    update copperplate.reservations as r
    set generated_url = null
    where r.generation_key = any(p_generation_keys) and r.generated_url is not null;
    select copperplate.give_back_all(p_generation_keys);
$$;

comment on function copperplate.note_pictures_gone(text[]) is
'These generations have no picture any more: give back what was never delivered, and forget the addresses.';

create function copperplate.release_expired(p_limit integer)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_expired uuid[];
begin
    v_expired := array(
        select r.id
        from copperplate.reservations as r
        where r.state = 'held' and r.expires_at < copperplate.clock() and copperplate.is_lapsed(r)
        limit p_limit
        for update skip locked
    );
    perform copperplate.release_all(v_expired);
    return cardinality(v_expired);
end;
$$;

comment on function copperplate.release_expired(integer) is
'Release what is held for generations that nobody works on any more; at most p_limit; answers how many.';

-- --- what operators and users ask -------------------------------------------------------------

create function copperplate.open_account(p_user uuid)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account uuid;
begin
    -- A round is lost only to somebody who forgets this very user at this moment.
    for v_round in 1..5 loop
        insert into copperplate.accounts (user_id, created_at)
        values (p_user, copperplate.clock())
        on conflict (user_id) do nothing;
        -- Locked as a foreign key would: it stays, and stays this user's, until the caller is done.
        select a.id into v_account
        from copperplate.accounts as a
        where a.user_id = p_user
        for key share;
        exit when found;
    end loop;
    return v_account;
end;
$$;

comment on function copperplate.open_account(uuid) is 'The id of a user''s account, which is made where there is none.';

create function public.grant_credits(p_user uuid, p_amount bigint, p_ref text)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account uuid;
begin
    if (p_amount between 1 and 1000000000 and length(p_ref) between 1 and 200) is not true then
        raise exception 'not a grant'
            using errcode = 'ZC009', hint = 'Grant 1 to 1000000000 credits, with a reference of 1 to 200 characters.';
    elsif strpos(replace(lower(p_ref), '-', ''), replace(p_user::text, '-', '')) > 0 then
        -- The ledger is kept when the user is forgotten.
        raise exception 'the reference names the user'
            using errcode = 'ZC009', hint = 'Use the number of an order, or whatever else says nothing of a person.';
    end if;
    v_account := copperplate.open_account(p_user);

    -- The ledger's row first: of two that give the same reference, the second waits here and finds it.
    insert into copperplate.credit_ledger (account_id, delta, kind, ref, created_at)
    values (v_account, p_amount, 'grant', p_ref, copperplate.clock())
    on conflict (kind, ref) do nothing;
    if found then
        update copperplate.accounts as a set balance = a.balance + p_amount where a.id = v_account;
    elsif not exists (
        select from copperplate.credit_ledger as l
        where l.kind = 'grant' and l.ref = p_ref and l.account_id = v_account and l.delta = p_amount
    ) then
        raise exception 'this reference stands for another grant'
            using errcode = 'ZC009', hint = 'Give every grant a reference of its own.';
    end if;
    return public.get_credits(p_user);
end;
$$;

comment on function public.grant_credits(uuid, bigint, text) is
'Give a user credits, once per reference; answers what get_credits answers.';

create function public.get_credits(p_user uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'balance', coalesce(max(a.balance), 0),
        'held', coalesce(max(a.held - l.credits), 0),
        'available', coalesce(max(a.balance - a.held + l.credits), 0)
    )
    from copperplate.accounts as a
    cross join lateral copperplate.lapsed_credits(a.id) as l (credits)
    where a.user_id = p_user;
$$;

comment on function public.get_credits(uuid) is
'What a user has: balance, held by generations under way, and available, the rest. Zero for a user nobody granted any.';

create function public.refund_credits(p_reservation uuid)
returns boolean
language sql
volatile
security invoker
set search_path = ''
as $$
    select copperplate.give_back(p_reservation);
$$;

comment on function public.refund_credits(uuid) is
'Give a reservation''s credits back, once; false where its picture was delivered, or there is no such reservation.';

-- Deletion of a user: no row names them afterwards, and every sum stays.
create function public.forget_user(p_user uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account uuid;
begin
    update copperplate.accounts as a set user_id = null where a.user_id = p_user
    returning a.id into v_account;
    delete from copperplate.asks as k where k.account_id = v_account;
    return v_account is not null;
end;
$$;

comment on function public.forget_user(uuid) is
'Take a user''s name off their account and remove what they asked; the ledger stays, of an account that is nobody''s.
False where there is no such account. Runs by itself when a row of auth.users is deleted.';

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

revoke all on function copperplate.release_all(uuid[]) from public, anon, authenticated;
revoke all on function copperplate.release_for(text, uuid[]) from public, anon, authenticated;
revoke all on function copperplate.reserve_charges(text, jsonb) from public, anon, authenticated;
revoke all on function copperplate.settle_reservation(text, text) from public, anon, authenticated;
revoke all on function copperplate.give_back(uuid) from public, anon, authenticated;
revoke all on function copperplate.give_back_all(text[]) from public, anon, authenticated;
revoke all on function copperplate.note_pictures_gone(text[]) from public, anon, authenticated;
revoke all on function copperplate.release_expired(integer) from public, anon, authenticated;
revoke all on function copperplate.open_account(uuid) from public, anon, authenticated;
revoke all on function public.grant_credits(uuid, bigint, text) from public, anon, authenticated;
revoke all on function public.get_credits(uuid) from public, anon, authenticated;
revoke all on function public.refund_credits(uuid) from public, anon, authenticated;
revoke all on function public.forget_user(uuid) from public, anon, authenticated;
revoke all on function public.audit_credits() from public, anon, authenticated;
grant execute on function copperplate.release_all(uuid[]) to service_role;
grant execute on function copperplate.release_for(text, uuid[]) to service_role;
grant execute on function copperplate.reserve_charges(text, jsonb) to service_role;
grant execute on function copperplate.settle_reservation(text, text) to service_role;
grant execute on function copperplate.give_back(uuid) to service_role;
grant execute on function copperplate.give_back_all(text[]) to service_role;
grant execute on function copperplate.note_pictures_gone(text[]) to service_role;
grant execute on function copperplate.release_expired(integer) to service_role;
grant execute on function copperplate.open_account(uuid) to service_role;
grant execute on function public.grant_credits(uuid, bigint, text) to service_role;
grant execute on function public.get_credits(uuid) to service_role;
grant execute on function public.refund_credits(uuid) to service_role;
grant execute on function public.forget_user(uuid) to service_role;
grant execute on function public.audit_credits() to service_role;
