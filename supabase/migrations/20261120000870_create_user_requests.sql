-- Requests of signed-in people, under an Idempotency-Key or to be answered later: for a day the same request gets the
-- same answer.
create table copperplate.user_requests (
    id bigint generated always as identity,
    account_id uuid not null,
    -- As the caller sent it; null for a caller that only comes back for its generation.
    idempotency_key text,
    generation_key text not null,
    -- What was delivered, less its address: that is made for each answer. Null until then.
    answer jsonb,
    created_at timestamptz not null,
    constraint user_requests_pkey primary key (id),
    constraint user_requests_account_fkey foreign key (account_id) references copperplate.accounts (id),
    constraint user_requests_idempotency_key unique (account_id, idempotency_key),
    constraint user_requests_idempotency_key_is_short check (length(idempotency_key) between 1 and 255)
);

create index user_requests_generation_idx on copperplate.user_requests (account_id, generation_key);
-- Requests without a key are all alike: one row for all of them.
create unique index user_requests_nameless_idx
on copperplate.user_requests (account_id, generation_key)
where idempotency_key is null;
create index user_requests_created_idx on copperplate.user_requests (created_at);

comment on table copperplate.user_requests is
'Requests of signed-in people, kept for a day: their Idempotency-Key, and the answer that was delivered.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.user_requests enable row level security;
revoke all on table copperplate.user_requests from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.user_requests to service_role;

create function public.begin_request(p_user uuid, p_generation_key text, p_idempotency_key text default null)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_account uuid;
    v_request copperplate.user_requests;
begin
    v_account := copperplate.open_account(p_user);

    if p_idempotency_key is null then
        insert into copperplate.user_requests (account_id, generation_key, created_at)
        values (v_account, p_generation_key, v_now)
        on conflict (account_id, generation_key) where idempotency_key is null do update
        set created_at = excluded.created_at;
        return jsonb_build_object('is_conflict', false, 'answer', null);
    end if;

    -- A day later the key is free again.
    delete from copperplate.user_requests as q
    where
        q.account_id = v_account and q.idempotency_key = p_idempotency_key
        and q.created_at < v_now - interval '1 day';
    insert into copperplate.user_requests (account_id, idempotency_key, generation_key, created_at)
    values (v_account, p_idempotency_key, p_generation_key, v_now)
    on conflict (account_id, idempotency_key) do nothing;
    select q.* into v_request
    from copperplate.user_requests as q
    where q.account_id = v_account and q.idempotency_key = p_idempotency_key;
    return jsonb_build_object(
        'is_conflict', coalesce(v_request.generation_key <> p_generation_key, false), 'answer', v_request.answer
    );
end;
$$;

comment on function public.begin_request(uuid, text, text) is
'Record that a user requests a generation: is_conflict where the key stands for another generation, answer where it was
delivered before.';
revoke all on function public.begin_request(uuid, text, text) from public, anon, authenticated;
grant execute on function public.begin_request(uuid, text, text) to service_role;

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
        -- The first answer stands: every request with this key gets that one.
        update copperplate.user_requests as q
        set answer = coalesce(q.answer, v_answer)
        where
            q.account_id = v_account.id and q.idempotency_key = p_idempotency_key
            and q.generation_key = p_generation_key
        returning q.answer into v_kept;
    end if;
    -- Null where the request is forgotten by now, as its user may be.
    return coalesce(v_kept, v_answer);
end;
$$;

comment on function public.deliver_generation(uuid, text, jsonb, text) is
'The user is about to be told where the picture is: nothing is refunded from here on. Answers p_answer, which holds no
address, with the credits left, or what was answered before under the same Idempotency-Key.';
revoke all on function public.deliver_generation(uuid, text, jsonb, text) from public, anon, authenticated;
grant execute on function public.deliver_generation(uuid, text, jsonb, text) to service_role;

create function public.is_requested_by(p_user uuid, p_generation_key text)
returns boolean
language sql
stable
security invoker
set search_path = ''
as $$
    select
        exists (
            select from copperplate.accounts as a
            where
                a.user_id = p_user
                and (
                    exists (
                        select from copperplate.user_requests as q
                        where q.account_id = a.id and q.generation_key = p_generation_key
                    )
                    or exists (
                        select from copperplate.reservations as r
                        where r.account_id = a.id and r.generation_key = p_generation_key
                    )
                )
        )
        -- The second condition is the index's.
        or exists (
            select from copperplate.wishes as w
            where w.owner = 'user:' || p_user and w.owner like 'user:%' and w.generation_key = p_generation_key
        );
$$;

comment on function public.is_requested_by(uuid, text) is
'Whether this user requested this generation, alone or in a batch, or paid for it: nobody else is told of it.';
revoke all on function public.is_requested_by(uuid, text) from public, anon, authenticated;
grant execute on function public.is_requested_by(uuid, text) to service_role;

create function copperplate.forget_old_requests(p_limit integer)
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
        select q.id
        from copperplate.user_requests as q
        where q.created_at < copperplate.clock() - interval '1 day'
        limit p_limit
        for update skip locked
    ),

    gone as (
        delete from copperplate.user_requests as q
        using old as o
        where q.id = o.id
        returning q.account_id
    )

    select array_agg(distinct g.account_id), count(*) into v_accounts, v_forgotten
    from gone as g;

    -- An account that a request alone opened goes with its last request. A token outlives its user by up to an hour:
    -- what it opens after the user was forgotten does not stay. Locked before the next statement looks: a request that
    -- has just begun holds the account.
    v_accounts := array(
        select a.id
        from copperplate.accounts as a
        where a.id = any(v_accounts) and a.balance = 0 and a.held = 0
        for update skip locked
    );
    delete from copperplate.accounts as a
    where
        a.id = any(v_accounts)
        and not exists (select from copperplate.user_requests as q where q.account_id = a.id)
        and not exists (select from copperplate.reservations as r where r.account_id = a.id)
        and not exists (select from copperplate.credit_ledger as l where l.account_id = a.id);
    return v_forgotten;
end;
$$;

comment on function copperplate.forget_old_requests(integer) is
'Remove requests older than a day, at most p_limit, and accounts without anything else; answers how many requests.';
revoke all on function copperplate.forget_old_requests(integer) from public, anon, authenticated;
grant execute on function copperplate.forget_old_requests(integer) to service_role;
