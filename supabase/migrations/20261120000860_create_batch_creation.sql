-- How a batch begins: with all of its wishes, in one transaction.

create function copperplate.check_recipes(p_wishes jsonb)
returns void
language plpgsql
stable
security invoker
set search_path = ''
as $$
begin
    -- One statement: the common case is that all of them are right.
    if exists (
        select from jsonb_array_elements(p_wishes) as m (wish)
        left join copperplate.kinds as k on m.wish #>> '{recipe,kind}' = k.name
        where k.name is null or public.cache_key(m.wish -> 'recipe') is distinct from m.wish ->> 'generation_key'
    ) then
        perform copperplate.check_recipe(m.wish -> 'recipe', m.wish ->> 'generation_key')
        from jsonb_array_elements(p_wishes) as m (wish);
    end if;
end;
$$;

comment on function copperplate.check_recipes(jsonb) is
'Raises ZC002 where a key is not the key of its recipe, and ZC003 where nobody knows a kind.';
revoke all on function copperplate.check_recipes(jsonb) from public, anon, authenticated;
grant execute on function copperplate.check_recipes(jsonb) to service_role;

create function copperplate.add_members(
    p_batch uuid, p_owner text, p_wishes jsonb, p_is_kept boolean, p_held_for interval
)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_forget_at timestamptz := v_now + copperplate.forget_wish_after(p_batch);
begin
    insert into copperplate.wishes (
        batch_id, position, owner, generation_key, kind, recipe, spending, charge_user, charge_credits, priority, paths,
        echo, status, code, cached, held_until, created_at, settled_at, forget_at
    )
    select
        p_batch, m.n - 1, p_owner, w.generation_key, w.recipe ->> 'kind', w.recipe,
        case when p_is_kept then w.spending end,
        case when p_is_kept then w.charge_user end,
        case when p_is_kept then w.charge_credits end,
        w.priority, w.paths, w.echo, s.status, s.code, s.status = 'completed',
        case when s.status = 'open' and p_held_for > interval '0' then v_now + p_held_for end,
        v_now,
        case when s.status <> 'open' then v_now end,
        case when s.status <> 'open' then v_forget_at end
    from jsonb_array_elements(p_wishes) with ordinality as m (wish, n)
    cross join lateral jsonb_to_record(m.wish) as w (
        generation_key text, recipe jsonb, spending jsonb, charge_user uuid, charge_credits integer, priority integer,
        paths jsonb, echo jsonb
    )
    cross join lateral (
        select
            case
                when copperplate.is_taken_down(w.generation_key) then 'taken_down'
                when not p_is_kept then 'spending_refused'
            end as code,
            exists (
                select from public.generation_status as g
                where g.prompt_hash = w.generation_key and g.status = 'completed'
            ) as is_stored
    ) as c
    cross join lateral (
        select
            case when c.code is not null then 'failed' when c.is_stored then 'completed' else 'open' end as status,
            c.code
    ) as s
    -- One order for all: of two batches none waits for the other.
    order by m.n;
end;
$$;

comment on function copperplate.add_members(uuid, text, jsonb, boolean, interval) is
'Insert the members of a batch in their order; for p_held_for nobody takes them. Those whose original is stored are
completed at once, those that were taken down failed. Unless p_is_kept, what is not taken down is refused, and names
nobody.';
revoke all on function copperplate.add_members(uuid, text, jsonb, boolean, interval) from public, anon, authenticated;
grant execute on function copperplate.add_members(uuid, text, jsonb, boolean, interval) to service_role;

create function public.create_batch(
    -- {id, owner, purpose, thread_id, idempotency_key, digest, wishes: [make_wish's, without owner]}
    p_batch jsonb,
    p_held_for interval default '0'
)
returns uuid
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_owner text := copperplate.owner_to_keep(p_batch ->> 'owner');
    v_batch copperplate.batches;
    v_is_due boolean;
begin
    -- A day later the key is free again.
    update copperplate.batches as b
    set idempotency_key = null
    where
        b.owner = v_owner and b.idempotency_key = p_batch ->> 'idempotency_key'
        and b.created_at <= v_now - interval '1 day';
    insert into copperplate.batches (id, owner, purpose, thread_id, idempotency_key, digest, created_at)
    select
        coalesce(n.id, gen_random_uuid()), v_owner, n.purpose, n.thread_id, n.idempotency_key, coalesce(n.digest, ''),
        v_now
    from jsonb_to_record(p_batch) as n (
        id uuid, purpose text, thread_id text, idempotency_key text, digest text
    )
    -- This batch again, as its caller never got the answer; or another under the same key.
    on conflict do nothing
    returning * into v_batch;
    if not found then
        return (
            select b.id
            from copperplate.batches as b
            where
                b.id = (p_batch ->> 'id')::uuid
                or (
                    b.owner = v_owner and b.idempotency_key = p_batch ->> 'idempotency_key'
                    and b.digest = p_batch ->> 'digest'
                )
            limit 1
        );
    end if;

    -- Of two batches of one owner the second one counts the first.
    perform pg_advisory_xact_lock(hashtextextended('copperplate wishes ' || v_owner, 0));
    perform copperplate.check_recipes(p_batch -> 'wishes');
    perform copperplate.add_members(
        v_batch.id, v_owner, p_batch -> 'wishes', v_owner = p_batch ->> 'owner', p_held_for
    );
    update copperplate.batches as b
    set estimate_micro_usd = m.estimate_micro_usd, is_private = m.is_private
    from (
        select
            case
                when count(*) filter (where w.status = 'open' and w.spending is null) = 0
                    then coalesce(
                        sum((w.spending ->> 'amount_micro_usd')::bigint) filter (where w.status = 'open'), 0
                    )
            end as estimate_micro_usd,
            coalesce(bool_or(k.is_private), false) as is_private
        from copperplate.wishes as w
        inner join copperplate.kinds as k on w.kind = k.name
        where w.batch_id = v_batch.id
    ) as m
    where b.id = v_batch.id;
    perform copperplate.check_open_wishes(v_owner);
    -- What is held is its maker's to begin.
    v_is_due := p_held_for <= interval '0' and exists (
        select from copperplate.wishes as w where w.batch_id = v_batch.id and w.status = 'open'
    );
    if v_is_due then
        perform pg_notify('copperplate', 'work');
    end if;
    return v_batch.id;
end;
$$;

comment on function public.create_batch(jsonb, interval) is
'Keep a batch, {id, owner, purpose, thread_id, idempotency_key, digest, wishes}, no generation twice; answers its id.
Its wishes are those of make_wish, without an owner; for p_held_for nobody takes them. Repeated by its owner under the
same idempotency key within a day it is the same batch, and nothing is written; null where that key stands for another
digest. Raises ZC002, ZC003 and ZC014 as make_wish does.';
revoke all on function public.create_batch(jsonb, interval) from public, anon, authenticated;
grant execute on function public.create_batch(jsonb, interval) to service_role;
