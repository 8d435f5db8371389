-- Accounts: who is signed in, and what credits they have.

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

alter table copperplate.accounts enable row level security;
revoke all on table copperplate.accounts from public, anon, authenticated, service_role;
grant select on table copperplate.accounts to authenticated;
grant select, insert, update, delete on table copperplate.accounts to service_role;

create policy accounts_are_their_owners
on copperplate.accounts
for select
to authenticated
using (user_id = (select copperplate.signed_in_user()));

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
revoke all on function copperplate.open_account(uuid) from public, anon, authenticated;
grant execute on function copperplate.open_account(uuid) to service_role;
