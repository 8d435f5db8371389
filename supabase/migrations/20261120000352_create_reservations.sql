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

alter table copperplate.reservations enable row level security;
revoke all on table copperplate.reservations from public, anon, authenticated, service_role;
grant select on table copperplate.reservations to authenticated;
grant select, insert, update on table copperplate.reservations to service_role;

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
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- The time is read once, or no index could help: one call for each reservation that is held costs more than the rest.
    return coalesce(sum(r.amount), 0)::bigint
    from copperplate.reservations as r
    where
        r.account_id = p_account and r.state = 'held' and r.expires_at < (select copperplate.clock())
        and copperplate.is_lapsed(r);
end;
$$;

comment on function copperplate.lapsed_credits(uuid) is
'What of accounts.held counts as free: credits of reservations that lapsed and were not released yet.';
revoke all on function copperplate.lapsed_credits(uuid) from public, anon, authenticated;
grant execute on function copperplate.lapsed_credits(uuid) to authenticated, service_role;
