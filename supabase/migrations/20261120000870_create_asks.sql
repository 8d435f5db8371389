-- What signed-in people asked under an Idempotency-Key, or to be told later: for a day, the same ask, the same answer.
create table copperplate.asks (
    id bigint generated always as identity,
    account_id uuid not null,
    -- As the caller sent it; null for one that only wants to ask again for its generation.
    idempotency_key text,
    generation_key text not null,
    -- What was delivered, less its address: that is made for each answer. Null until then.
    answer jsonb,
    created_at timestamptz not null,
    constraint asks_pkey primary key (id),
    constraint asks_account_fkey foreign key (account_id) references copperplate.accounts (id),
    constraint asks_idempotency_key unique (account_id, idempotency_key),
    constraint asks_idempotency_key_is_short check (length(idempotency_key) between 1 and 255)
);

create index asks_generation_idx on copperplate.asks (account_id, generation_key);
-- Without a key there is nothing to tell one ask from the next: one row for all of them.
create unique index asks_nameless_idx on copperplate.asks (account_id, generation_key) where idempotency_key is null;
create index asks_created_idx on copperplate.asks (created_at);

comment on table copperplate.asks is
'Asks of signed-in people that are remembered for a day: their Idempotency-Key, and the answer that was delivered.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.asks enable row level security;
revoke all on table copperplate.asks from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.asks to service_role;

create function public.begin_ask(p_user uuid, p_generation_key text, p_idempotency_key text default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_account uuid;
    v_ask copperplate.asks;
begin
    v_account := copperplate.open_account(p_user);

    if p_idempotency_key is null then
        insert into copperplate.asks (account_id, generation_key, created_at)
        values (v_account, p_generation_key, v_now)
        on conflict (account_id, generation_key) where idempotency_key is null do update
        set created_at = excluded.created_at;
        return jsonb_build_object('is_conflict', false, 'answer', null);
    end if;

    -- A day later the key is free again.
    delete from copperplate.asks as k
    where
        k.account_id = v_account and k.idempotency_key = p_idempotency_key
        and k.created_at < v_now - interval '1 day';
    insert into copperplate.asks (account_id, idempotency_key, generation_key, created_at)
    values (v_account, p_idempotency_key, p_generation_key, v_now)
    on conflict (account_id, idempotency_key) do nothing;
    select k.* into v_ask
    from copperplate.asks as k
    where k.account_id = v_account and k.idempotency_key = p_idempotency_key;
    return jsonb_build_object(
        'is_conflict', coalesce(v_ask.generation_key <> p_generation_key, false), 'answer', v_ask.answer
    );
end;
$$;

comment on function public.begin_ask(uuid, text, text) is
'Remember that a user asks for a generation: is_conflict where the key stands for another one, answer where it was
delivered before.';

create function public.deliver_generation(
    p_user uuid, p_generation_key text, p_answer jsonb, p_idempotency_key text default null
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_account copperplate.accounts;
    v_answer jsonb;
    v_kept jsonb;
begin
    select a.* into v_account from copperplate.accounts as a where a.user_id = p_user;
    update copperplate.reservations as r
    set delivered_at = copperplate.clock()
    where
        r.account_id = v_account.id and r.generation_key = p_generation_key
        and r.state = 'settled' and r.delivered_at is null;

    v_answer := p_answer || jsonb_build_object(
        'credits', coalesce(v_account.balance - v_account.held + copperplate.lapsed_credits(v_account.id), 0)
    );
    if p_idempotency_key is not null then
        -- The first answer stands: everybody who asks with this key gets that one.
        update copperplate.asks as k
        set answer = coalesce(k.answer, v_answer)
        where
            k.account_id = v_account.id and k.idempotency_key = p_idempotency_key
            and k.generation_key = p_generation_key
        returning k.answer into v_kept;
    end if;
    -- None where the ask is forgotten by now, as its user may be.
    return coalesce(v_kept, v_answer);
end;
$$;

comment on function public.deliver_generation(uuid, text, jsonb, text) is
'The user is about to be told where the picture is: nothing is refunded from here on. Answers p_answer, which holds no
address, with the credits left, or what was answered before under the same Idempotency-Key.';

create function public.is_asked_by(p_user uuid, p_generation_key text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select exists (
        select from copperplate.accounts as a
        where
            a.user_id = p_user
            and (
                exists (
                    select from copperplate.asks as k
                    where k.account_id = a.id and k.generation_key = p_generation_key
                )
                or exists (
                    select from copperplate.reservations as r
                    where r.account_id = a.id and r.generation_key = p_generation_key
                )
            )
    );
$$;

comment on function public.is_asked_by(uuid, text) is
'Whether this user asked for this generation, or paid for it: nobody else is told of it.';

create function copperplate.forget_old_asks(p_limit integer)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_accounts uuid[];
    v_forgotten integer;
begin
    with old as (
        select k.id
        from copperplate.asks as k
        where k.created_at < copperplate.clock() - interval '1 day'
        limit p_limit
        for update skip locked
    ),

    gone as (
        delete from copperplate.asks as k
        using old as o
        where k.id = o.id
        returning k.account_id
    )

    select array_agg(distinct g.account_id), count(*) into v_accounts, v_forgotten
    from gone as g;

    -- An account that was opened by asking alone goes with its last ask. A token outlives its user by up to an hour:
    -- what it opens anew after the user was forgotten does not stay. Locked first, looked at in the next statement:
    -- who has just begun to ask holds the account.
    v_accounts := array(
        select a.id
        from copperplate.accounts as a
        where a.id = any(v_accounts) and a.balance = 0 and a.held = 0
        for update skip locked
    );
    delete from copperplate.accounts as a
    where
        a.id = any(v_accounts)
        and not exists (select from copperplate.asks as k where k.account_id = a.id)
        and not exists (select from copperplate.reservations as r where r.account_id = a.id)
        and not exists (select from copperplate.credit_ledger as l where l.account_id = a.id);
    return v_forgotten;
end;
$$;

comment on function copperplate.forget_old_asks(integer) is
'Remove asks older than a day, at most p_limit, and accounts that were never more than asks; answers how many asks.';

-- Deleted by Supabase Auth, whose role has no business in our schema: it runs with its owner's rights, and can do
-- nothing but forget that very user. Where it fails, so does the deletion, which can then be tried again: a deletion
-- that passed over the fault would leave a name here that nobody is ever going to take off.
create function copperplate.note_user_deleted()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
    perform public.forget_user(old.id);
    return null;
end;
$$;

comment on function copperplate.note_user_deleted() is 'Forgets a user whom Supabase Auth deletes.';

revoke all on function public.begin_ask(uuid, text, text) from public, anon, authenticated;
revoke all on function public.deliver_generation(uuid, text, jsonb, text) from public, anon, authenticated;
revoke all on function public.is_asked_by(uuid, text) from public, anon, authenticated;
revoke all on function copperplate.forget_old_asks(integer) from public, anon, authenticated;
revoke all on function copperplate.note_user_deleted() from public, anon, authenticated, service_role;
grant execute on function public.begin_ask(uuid, text, text) to service_role;
grant execute on function public.deliver_generation(uuid, text, jsonb, text) to service_role;
grant execute on function public.is_asked_by(uuid, text) to service_role;
grant execute on function copperplate.forget_old_asks(integer) to service_role;

-- A Postgres without Supabase Auth has no users of its own; there `forget_user` is called by whoever has them.
do $$
begin
    if to_regclass('auth.users') is null then
        return;
    end if;
    create trigger copperplate_user_deleted
    after delete on auth.users
    for each row execute function copperplate.note_user_deleted();
    -- Auth can also keep the row and mark it.
    create trigger copperplate_user_marked_deleted
    after update of deleted_at on auth.users
    for each row
    when (new.deleted_at is not null)
    execute function copperplate.note_user_deleted();
end
$$;
