-- Users who were forgotten, while a token of theirs may still be good: no booking is to name them again.

create table copperplate.forgotten_users (
    -- Of the budget's name; from it nobody finds an id of 122 random bits.
    digest bytea not null,
    forgotten_at timestamptz not null,
    constraint forgotten_users_pkey primary key (digest)
);

comment on table copperplate.forgotten_users is
'Digests of users who were forgotten in the last 35 days: they may spend nothing. Row-level security is on without a
policy: only service_role and the owner see rows.';

alter table copperplate.forgotten_users enable row level security;
revoke all on table copperplate.forgotten_users from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.forgotten_users to service_role;

-- Before any row: forget_user holds the same lock alone while it waits for rows. One of 1024, as a deletion of many
-- users in one transaction has room for so many locks.
create function copperplate.hold_user(p_spending jsonb)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    -- A caller names a user first.
    v_name text := p_spending #>> '{budgets,0,name}';
begin
    if v_name like 'user:%' then
        perform pg_advisory_xact_lock_shared(1129271873, hashtext(v_name) & 1023);
    end if;
end;
$$;

comment on function copperplate.hold_user(jsonb) is
'Until the transaction ends, nobody forgets the user who spends p_spending; waits for who does.';
revoke all on function copperplate.hold_user(jsonb) from public, anon, authenticated;
grant execute on function copperplate.hold_user(jsonb) to service_role;

create function copperplate.note_forgotten(p_name text)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    perform pg_advisory_xact_lock(1129271873, hashtext(p_name) & 1023);
    insert into copperplate.forgotten_users as f (digest, forgotten_at)
    values (sha256(convert_to(p_name, 'UTF8')), copperplate.clock())
    on conflict (digest) do update set forgotten_at = excluded.forgotten_at;
end;
$$;

comment on function copperplate.note_forgotten(text) is
'Wait for what spends from the budget of a user, and let nothing more be spent from it.';
revoke all on function copperplate.note_forgotten(text) from public, anon, authenticated;
grant execute on function copperplate.note_forgotten(text) to service_role;

create function copperplate.is_forgotten(p_name text)
returns boolean
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    return exists (
        select from copperplate.forgotten_users as f where f.digest = sha256(convert_to(p_name, 'UTF8'))
    );
end;
$$;

comment on function copperplate.is_forgotten(text) is 'Whether the user with this budget was forgotten.';
revoke all on function copperplate.is_forgotten(text) from public, anon, authenticated;
grant execute on function copperplate.is_forgotten(text) to service_role;
