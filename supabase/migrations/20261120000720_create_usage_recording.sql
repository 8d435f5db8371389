-- One line of a batch: how often a picture was served or not, with one outcome, from one tier.
create type copperplate.use as (
    generation_key text,
    rendition_key text,
    -- In which it was served.
    format text,
    kind text,
    provider text,
    model text,
    outcome text,
    tier text,
    count bigint,
    size_bytes bigint,
    latency_buckets bigint array
);

comment on type copperplate.use is 'One line of a batch that record_usage adds.';
revoke all on type copperplate.use from public;
grant usage on type copperplate.use to service_role;

create function copperplate.count_served(p_uses copperplate.use[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
    -- Rows in key order, generations before entries: two flushes never wait for each other in a ring.
    with locked as materialized (
        select g.prompt_hash, s.requests
        from (
            select u.generation_key as key, sum(u.count) as requests
            from unnest(p_uses) as u
            group by u.generation_key
        ) as s
        inner join public.generation_status as g on s.key = g.prompt_hash
        order by g.prompt_hash
        for no key update of g
    )

    update public.generation_status as g
    set total_requests = g.total_requests + l.requests
    from locked as l
    where g.prompt_hash = l.prompt_hash;

    -- Totals add up what rows were counted on, and nothing else: they are the sums of entries, always.
    with served as (
        select
            coalesce(
                (
                    select r.key
                    from copperplate.cache_entries as r
                    inner join copperplate.kinds as k on r.kind = k.name
                    -- Where people are shown the original, every form is a use of it.
                    where r.key = u.rendition_key and not k.is_own_original
                ),
                -- A form that is not kept keeps its picture fresh all the same.
                (
                    select s.key
                    from copperplate.cache_entries as s
                    where s.generation_key = u.generation_key and (s.is_shown or s.is_original)
                    order by s.is_shown desc, s.format is not distinct from u.format desc, s.created_at, s.key
                    limit 1
                )
            ) as key,
            sum(u.count) as served
        from unnest(p_uses) as u
        where u.outcome <> 'failed'
        group by 1
    ),

    counted as (
        update copperplate.cache_entries as e
        set access_count = e.access_count + s.served, last_accessed_at = copperplate.clock()
        from served as s
        where e.key = s.key
        returning e.kind, s.served
    )

    insert into copperplate.public_totals (day, kind, accesses)
    select
        (copperplate.clock() at time zone 'UTC')::date,
        c.kind,
        sum(c.served)
    from counted as c
    group by c.kind;
end;
$$;

comment on function copperplate.count_served(copperplate.use[]) is
'Count these uses on the rows of their generations and entries, and in the sums of entries. A use of a form that is not
kept counts on the form of its format that people are shown, else on another that they are, else on the original.';
revoke all on function copperplate.count_served(copperplate.use[]) from public, anon, authenticated;
grant execute on function copperplate.count_served(copperplate.use[]) to service_role;

create function copperplate.note_saved(p_uses copperplate.use[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_keys text[];
    v_counts bigint[];
begin
    select array_agg(s.key), array_agg(s.count)
    into v_keys, v_counts
    from (
        select u.generation_key as key, sum(u.count)::bigint as count
        from unnest(p_uses) as u
        where u.outcome in ('hit', 'stale', 'coalesced')
        group by u.generation_key
    ) as s;
    -- The triggers run for an update of no row, too.
    if v_keys is null then
        return;
    end if;

    -- A picture was made by the newest submit of its generation. Locked in one order: where the generation is gone,
    -- nothing else keeps two of these apart.
    with newest as materialized (
        select s.id, k.count
        from unnest(v_keys, v_counts) as k (key, count)
        cross join lateral (
            select max(n.id) as id from copperplate.submits as n where n.generation_key = k.key
        ) as m
        inner join copperplate.submits as s on m.id = s.id
        order by s.id
        for no key update of s
    )

    update copperplate.submits as s
    set saved = s.saved + n.count
    from newest as n
    where s.id = n.id;
end;
$$;

comment on function copperplate.note_saved(copperplate.use[]) is
'Write into the book how often pictures were served without a call.';
revoke all on function copperplate.note_saved(copperplate.use[]) from public, anon, authenticated;
grant execute on function copperplate.note_saved(copperplate.use[]) to service_role;

create function copperplate.add_rollups(p_uses copperplate.use[])
returns void
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_today date := (copperplate.clock() at time zone 'UTC')::date;
begin
    insert into copperplate.usage_rollups as r (day, kind, provider, model, outcome, tier, requests, bytes, latency)
    select
        v_today, u.kind, u.provider, u.model, u.outcome, u.tier, sum(u.count), sum(u.size_bytes),
        (
            select array_agg(b.total order by b.n)
            from (
                select h.n, sum(h.count)::bigint as total
                from unnest(p_uses) as w
                cross join lateral unnest(w.latency_buckets) with ordinality as h (count, n)
                where (w.kind, w.provider, w.model, w.outcome, w.tier) = (u.kind, u.provider, u.model, u.outcome, u.tier)
                group by h.n
            ) as b
        )
    from unnest(p_uses) as u
    group by u.kind, u.provider, u.model, u.outcome, u.tier
    order by u.kind, u.provider, u.model, u.outcome, u.tier
    on conflict on constraint usage_rollups_pkey do update
    set
        requests = r.requests + excluded.requests,
        bytes = r.bytes + excluded.bytes,
        latency = copperplate.add_histograms(r.latency, excluded.latency);

    insert into copperplate.public_totals (day, kind, requests, hits, misses, saved)
    select
        v_today,
        u.kind,
        sum(u.count),
        coalesce(sum(u.count) filter (where u.outcome in ('hit', 'stale')), 0),
        coalesce(sum(u.count) filter (where u.outcome in ('generated', 'coalesced')), 0),
        coalesce(sum(u.count) filter (where u.outcome in ('hit', 'stale', 'coalesced')), 0)
    from unnest(p_uses) as u
    group by u.kind;
end;
$$;

comment on function copperplate.add_rollups(copperplate.use[]) is 'Add these uses to the sums of today.';
revoke all on function copperplate.add_rollups(copperplate.use[]) from public, anon, authenticated;
grant execute on function copperplate.add_rollups(copperplate.use[]) to service_role;

create function public.record_usage(p_uses jsonb, p_batch uuid)
returns boolean
language plpgsql
volatile
security invoker
set search_path = ''
-- Planned anew for every batch, its statements would cost as much again.
set plan_cache_mode = force_generic_plan
-- Below deadlock_timeout: where a person's DELETE locks in another order, counting gives way and is sent again.
set lock_timeout = '500ms'
as $$
declare
    v_uses copperplate.use[];
begin
    -- A repeat that comes while the first is under way waits here for its end.
    insert into copperplate.usage_batches (id, recorded_at)
    values (p_batch, copperplate.clock())
    on conflict (id) do nothing;
    if not found then
        return public.is_work_due();
    end if;

    v_uses := array(select u from jsonb_populate_recordset(null::copperplate.use, p_uses) as u);
    perform copperplate.count_served(v_uses);
    perform copperplate.note_saved(v_uses);
    perform copperplate.add_rollups(v_uses);

    if random() < 0.02 then
        perform copperplate.fold_totals();
        perform copperplate.fold_money();
        perform copperplate.forget_old_batches(1000);
        perform copperplate.forget_invalidations(1000);
    end if;
    return public.is_work_due();
end;
$$;

comment on function public.record_usage(jsonb, uuid) is
'Add a batch of counts, [{generation_key, rendition_key, format, kind, provider, model, outcome, tier, count,
size_bytes, latency_buckets}], once: sent again under the same id within two hours, it changes nothing. Answers whether
a wish is due.';
revoke all on function public.record_usage(jsonb, uuid) from public, anon, authenticated;
grant execute on function public.record_usage(jsonb, uuid) to service_role;
