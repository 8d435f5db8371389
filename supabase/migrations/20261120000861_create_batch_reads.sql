-- Batches as they are now. The truth about a picture is its generation's, whoever made it.

create function copperplate.wished_state(p_generation public.generation_status, p_now timestamptz)
returns text
language sql
immutable
security invoker
set search_path = ''
as $$
    select case
        when p_generation.status in ('pending', 'generating', 'completed') then p_generation.status
        when p_generation.status = 'failed' then
            case
                -- As copperplate.resumes has it: the next leader goes on with what was sent.
                when
                    p_generation.error_class in ('abandoned', 'uncollected')
                    and p_generation.phase in ('submitting', 'submitted', 'uploading')
                    then 'generating'
                -- It is tried again, unless until then nobody is going to.
                when
                    p_generation.retry_at > p_now
                    and p_generation.error_class in ('moderated', 'invalid', 'bad_output', 'ambiguous', 'lost')
                    then 'failed'
                else 'pending'
            end
    end;
$$;

comment on function copperplate.wished_state(public.generation_status, timestamptz) is
'What callers are told of a generation that an open wish waits for; null where there is no row of it.';
revoke all on function copperplate.wished_state(public.generation_status, timestamptz)
from public, anon, authenticated;
grant execute on function copperplate.wished_state(public.generation_status, timestamptz) to service_role;

create view copperplate.members
with (security_invoker = true)
as
select
    w.id,
    w.batch_id,
    w.position,
    w.generation_key,
    w.kind,
    case when w.status = 'open' then coalesce(s.state, 'pending') else w.status end as state,
    w.cached,
    -- As whoever takes the wish is going to be told.
    case when w.status = 'open' and s.state = 'failed' then s.error_class else w.code end as code,
    w.status = 'open' and (coalesce(w.held_until > s.now, false) or coalesce(s.is_led, false)) as is_led,
    w.paths,
    w.echo
from copperplate.wishes as w
left join lateral (
    select
        c.now,
        copperplate.wished_state(g, c.now) as state,
        g.error_class,
        g.status in ('pending', 'generating') and g.lease_until > c.now as is_led
    from copperplate.clock() as c (now)
    left join public.generation_status as g on w.generation_key = g.prompt_hash
    where w.status = 'open'
) as s on true
where w.batch_id is not null;

comment on view copperplate.members is
'Members of batches with the state that callers are told: of open ones, that of their generation. is_led: somebody is at
work on it.';

revoke all on table copperplate.members from public, anon, authenticated, service_role;
grant select on table copperplate.members to service_role;

create function public.find_batch(p_batch uuid)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'id', b.id, 'owner', b.owner, 'purpose', b.purpose, 'thread_id', b.thread_id,
        'created_at', b.created_at, 'canceled_at', b.canceled_at, 'estimate_micro_usd', b.estimate_micro_usd,
        'counts', coalesce(c.counts, '{}'), 'cached', coalesce(c.cached, 0), 'is_private', b.is_private,
        'is_led', coalesce(c.is_led, false)
    )
    from copperplate.batches as b
    cross join lateral (
        select
            jsonb_object_agg(s.state, s.number) as counts,
            sum(s.cached) as cached,
            bool_or(s.is_led) as is_led
        from (
            select
                m.state,
                count(*) as number,
                count(*) filter (where m.cached) as cached,
                bool_or(m.is_led) as is_led
            from copperplate.members as m
            where m.batch_id = b.id
            group by m.state
        ) as s
    ) as c
    where b.id = p_batch;
$$;

comment on function public.find_batch(uuid) is
'A batch as it is now: {id, owner, purpose, thread_id, created_at, canceled_at, estimate_micro_usd, counts by state,
cached, is_private, is_led}; null where there is none.';
revoke all on function public.find_batch(uuid) from public, anon, authenticated;
grant execute on function public.find_batch(uuid) to service_role;

create function public.list_members(p_batch uuid, p_after integer default -1, p_limit integer default 100)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(to_jsonb(p) order by p.position), '[]')
    from (
        select m.id as wish, m.position, m.generation_key, m.kind, m.state, m.cached, m.code, m.paths, m.echo
        from copperplate.members as m
        where m.batch_id = p_batch and m.position > p_after
        order by m.position
        limit p_limit
    ) as p;
$$;

comment on function public.list_members(uuid, integer, integer) is
'At most p_limit members of a batch with a position above p_after, in their order: [{wish, position, generation_key,
kind, state, cached, code, paths, echo}].';
revoke all on function public.list_members(uuid, integer, integer) from public, anon, authenticated;
grant execute on function public.list_members(uuid, integer, integer) to service_role;

create function public.cancel_batch(p_batch uuid)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_open bigint[];
    v_withdrawn bigint[];
    v_saved bigint;
begin
    perform from copperplate.batches as b where b.id = p_batch for no key update;
    if not found then
        return null;
    end if;
    -- Somebody who takes one of them goes first, and then it is held.
    v_open := array(
        select w.id
        from copperplate.wishes as w
        where w.batch_id = p_batch and w.status = 'open'
        order by w.id
        for update
    );
    -- One that has ended stays as it is told.
    update copperplate.batches as b
    set canceled_at = coalesce(b.canceled_at, v_now)
    where
        b.id = p_batch
        and exists (
            select from copperplate.members as m where m.batch_id = b.id and m.state in ('pending', 'generating')
        );
    if not found then
        return '{"withdrawn": 0, "under_way": 0, "saved_micro_usd": 0}'::jsonb;
    end if;
    v_withdrawn := array(
        select w.id
        from copperplate.wishes as w
        where
            w.id = any(v_open) and w.status = 'open' and (w.held_until is null or w.held_until <= v_now)
            and not copperplate.is_led(w.generation_key, v_now) and not copperplate.is_paid(w.generation_key)
    );
    perform copperplate.end_wishes(v_withdrawn, 'canceled');
    select coalesce(sum((w.spending ->> 'amount_micro_usd')::bigint), 0)
    into v_saved
    from copperplate.wishes as w
    where
        w.id = any(v_withdrawn)
        and not exists (
            select from copperplate.wishes as o where o.generation_key = w.generation_key and o.status = 'open'
        );
    return jsonb_build_object(
        'withdrawn', cardinality(v_withdrawn),
        'under_way', (
            select count(*)
            from copperplate.members as m
            where m.batch_id = p_batch and m.state in ('pending', 'generating')
        ),
        'saved_micro_usd', v_saved
    );
end;
$$;

comment on function public.cancel_batch(uuid) is
'Withdraw every member that is not in flight and that nothing was paid for. Answers {withdrawn, under_way,
saved_micro_usd}: saved is what was estimated for those that nobody else wishes for. Of a batch that has ended nothing
changes; repeated it withdraws and saves nothing more. Null where there is no such batch.';
revoke all on function public.cancel_batch(uuid) from public, anon, authenticated;
grant execute on function public.cancel_batch(uuid) to service_role;
