-- Generations as callers are told of them.

create function copperplate.usual_ms(p_kind text, p_model text)
returns double precision
language sql
stable
security invoker
set search_path = ''
as $$
    -- The newest by time alone: few rows, whatever the kind's pictures were made by.
    select percentile_cont(0.5) within group (order by o.generation_ms)
    from (
        select e.generation_key, e.generation_ms, e.is_original
        from copperplate.cache_entries as e
        where e.kind = p_kind and e.archived_at is null
        order by e.created_at desc
        limit 200
    ) as o
    inner join public.generation_status as g on o.generation_key = g.prompt_hash
    where o.is_original and o.generation_ms is not null and g.model = p_model;
$$;

comment on function copperplate.usual_ms(text, text) is
'The median time from the first submit to the picture, in milliseconds, of those pictures of this kind and model that
are among the last 200 entries; null where there are none.';
revoke all on function copperplate.usual_ms(text, text) from public, anon, authenticated;
grant execute on function copperplate.usual_ms(text, text) to service_role;

create function public.get_generation_state(p_generation_key text, p_with_usual boolean default false)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_now timestamptz := copperplate.clock();
    v public.generation_status;
    v_wish copperplate.wishes;
    v_state text;
begin
    select g.* into v from public.generation_status as g where g.prompt_hash = p_generation_key;
    select w.* into v_wish
    from copperplate.wishes as w
    where w.generation_key = p_generation_key and w.status = 'open'
    order by w.created_at, w.id
    limit 1;
    if v.prompt_hash is null and v_wish.id is null then
        return null;
    end if;

    v_state := case
        -- A follower takes over within seconds. Here nobody did, and nobody will unless somebody asks anew.
        when v_wish.id is null and v.status in ('pending', 'generating') and v.lease_until < v_now - interval '10 seconds'
            then 'failed'
        when v_wish.id is null then v.status
        else coalesce(copperplate.wished_state(v, v_now), 'pending')
    end;
    return jsonb_build_object(
        'generation_key', p_generation_key,
        'kind', coalesce(v.kind, v_wish.kind),
        'state', v_state,
        -- Of what was asked for anew, when that was.
        'created_at', case
            when v_state = 'pending' and v.status = 'failed' then v_wish.created_at
            else coalesce(v.created_at, v_wish.created_at)
        end,
        'started_at', case when v_state <> 'pending' then v.started_at end,
        'error_class', case when v_state = 'failed' then coalesce(v.error_class, 'abandoned') end,
        'retry_after_ms', case
            when v_state = 'failed' then greatest(ceil(extract(epoch from v.retry_at - v_now) * 1000), 0)::bigint else 0
        end,
        'entry', case
            when v_state = 'completed' then (
                select to_jsonb(s)
                from copperplate.cache_entries as e
                cross join lateral copperplate.stored(e.key) as s
                where e.generation_key = p_generation_key and e.is_original
            )
        end,
        'is_led', v_state in ('pending', 'generating') and (
            coalesce(v.status in ('pending', 'generating') and v.lease_until > v_now, false)
            or exists (
                select from copperplate.wishes as w
                where w.generation_key = p_generation_key and w.status = 'open' and w.held_until > v_now
            )
        ),
        -- Of many rows: whoever looks again and again asks for it once.
        'usual_ms', case
            when p_with_usual
                then copperplate.usual_ms(coalesce(v.kind, v_wish.kind), coalesce(v.model, v_wish.recipe ->> 'model'))
        end
    );
end;
$$;

comment on function public.get_generation_state(text, boolean) is
'What callers are told of a generation, also of one that an open wish waits for: {generation_key, kind, state,
created_at, started_at, error_class, retry_after_ms, entry (the original''s), is_led (somebody is at work on it),
usual_ms (asked for by p_with_usual)}; null where neither is known.';
revoke all on function public.get_generation_state(text, boolean) from public, anon, authenticated;
grant execute on function public.get_generation_state(text, boolean) to service_role;

create function public.get_stored_keys(p_generation_keys text[])
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select coalesce(jsonb_agg(g.prompt_hash), '[]')
    from public.generation_status as g
    where g.prompt_hash = any(p_generation_keys) and g.status = 'completed';
$$;

comment on function public.get_stored_keys(text[]) is 'Those of these generations whose original is stored.';
revoke all on function public.get_stored_keys(text[]) from public, anon, authenticated;
grant execute on function public.get_stored_keys(text[]) to service_role;

create function public.get_popular_recipes(p_days integer, p_limit integer)
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_since timestamptz := copperplate.clock() - make_interval(days => p_days);
begin
    -- Requests are counted since the generation's row was made, not by day: of what was asked for in these days, what
    -- was asked for most comes first.
    return (
        select coalesce(jsonb_agg(p.recipe order by p.total_requests desc, p.prompt_hash), '[]')
        from (
            select g.prompt_hash, g.recipe, g.total_requests
            from public.generation_status as g
            where
                g.total_requests > 0
                and (
                    g.updated_at >= v_since
                    or exists (
                        select from copperplate.cache_entries as e
                        where e.generation_key = g.prompt_hash and e.access_count > 0 and e.last_accessed_at >= v_since
                    )
                )
            order by g.total_requests desc, g.prompt_hash
            limit p_limit
        ) as p
    );
end;
$$;

comment on function public.get_popular_recipes(integer, integer) is
'At most p_limit recipes of pictures that were asked for in the last p_days, those with most requests first.';
revoke all on function public.get_popular_recipes(integer, integer) from public, anon, authenticated;
grant execute on function public.get_popular_recipes(integer, integer) to service_role;
