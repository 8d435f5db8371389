-- p_uses: [{generation_key, rendition_key, kind, provider, model, outcome, tier, count, size_bytes, latency_buckets}].
create function public.record_usage(p_uses jsonb, p_batch uuid)
returns void
language plpgsql
volatile
security invoker
set search_path = ''
-- Below deadlock_timeout: where a person's DELETE locks in another order, counting gives way and is sent again.
set lock_timeout = '500ms'
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_today date := (v_now at time zone 'UTC')::date;
begin
    -- A repeat that comes while the first is under way waits here for its end.
    insert into copperplate.usage_batches (id, recorded_at) values (p_batch, v_now) on conflict (id) do nothing;
    if not found then
        return;
    end if;

    -- Rows in key order, generations before entries before submits: two flushes never wait for each other in a ring.
    perform from public.generation_status as g
    where g.prompt_hash in (select u ->> 'generation_key' from jsonb_array_elements(p_uses) as u)
    order by g.prompt_hash
    for no key update;

    update public.generation_status as g
    set total_requests = g.total_requests + s.requests
    from (
        select u ->> 'generation_key' as key, sum((u ->> 'count')::bigint) as requests
        from jsonb_array_elements(p_uses) as u
        group by 1
    ) as s
    where g.prompt_hash = s.key;

    update copperplate.cache_entries as e
    set access_count = e.access_count + s.served, last_accessed_at = v_now
    from (
        select u ->> 'rendition_key' as key, sum((u ->> 'count')::bigint) as served
        from jsonb_array_elements(p_uses) as u
        where u ->> 'outcome' <> 'failed'
        group by 1
    ) as s
    where e.key = s.key;

    perform copperplate.note_saved(p_uses);

    insert into copperplate.usage_rollups as r (
        day, kind, provider, model, outcome, tier, requests, bytes, latency
    )
    select
        v_today, u.kind, u.provider, u.model, u.outcome, u.tier, sum(u.count), sum(u.size_bytes),
        (
            select array_agg(b.total order by b.n)
            from (
                select h.n, sum(h.count)::bigint as total
                from jsonb_to_recordset(p_uses) as w (
                    kind text, provider text, model text, outcome text, tier text, latency_buckets bigint[]
                )
                cross join lateral unnest(w.latency_buckets) with ordinality as h (count, n)
                where (w.kind, w.provider, w.model, w.outcome, w.tier) = (u.kind, u.provider, u.model, u.outcome, u.tier)
                group by h.n
            ) as b
        )
    from jsonb_to_recordset(p_uses) as u (
        kind text, provider text, model text, outcome text, tier text, count bigint, size_bytes bigint
    )
    group by u.kind, u.provider, u.model, u.outcome, u.tier
    order by u.kind, u.provider, u.model, u.outcome, u.tier
    on conflict on constraint usage_rollups_pkey do update
    set
        requests = r.requests + excluded.requests,
        bytes = r.bytes + excluded.bytes,
        latency = copperplate.add_histograms(r.latency, excluded.latency);

    insert into copperplate.public_totals (day, kind, requests, hits, misses, saved, accesses)
    select
        v_today,
        u.kind,
        sum(u.count),
        coalesce(sum(u.count) filter (where u.outcome in ('hit', 'stale')), 0),
        coalesce(sum(u.count) filter (where u.outcome in ('generated', 'coalesced')), 0),
        coalesce(sum(u.count) filter (where u.outcome in ('hit', 'stale', 'coalesced')), 0),
        coalesce(sum(u.count) filter (where u.outcome <> 'failed'), 0)
    from jsonb_to_recordset(p_uses) as u (kind text, outcome text, count bigint)
    group by u.kind;

    if random() < 0.02 then
        perform copperplate.fold_totals();
        perform copperplate.fold_money();
        perform copperplate.forget_old_batches(1000);
    end if;
end;
$$;

comment on function public.record_usage(jsonb, uuid) is
'Add a batch of counts, once: sent again under the same id within two hours, it changes nothing.';
revoke all on function public.record_usage(jsonb, uuid) from public, anon, authenticated;
grant execute on function public.record_usage(jsonb, uuid) to service_role;
