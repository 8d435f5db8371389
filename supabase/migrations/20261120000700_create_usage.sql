-- Counting. Hits write nothing by themselves: processes add up and flush now and then.

create table copperplate.usage_rollups (
    day date not null,
    kind text not null,
    provider text not null,
    model text not null,
    outcome text not null,
    tier text not null,
    requests bigint not null default 0,
    bytes bigint not null default 0,
    -- Requests by time to answer, bounds 1 2 5 10 25 50 100 250 1000 5000 15000 30000 ms and above.
    latency bigint[] not null,
    constraint usage_rollups_pkey primary key (day, kind, provider, model, outcome, tier),
    constraint usage_rollups_outcome_is_known check (
        outcome in ('hit', 'stale', 'coalesced', 'generated', 'failed')
    )
);

comment on table copperplate.usage_rollups is
'Requests by day (UTC), kind, provider, model, outcome and tier. Money is in copperplate.submits.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.usage_rollups enable row level security;
revoke all on table copperplate.usage_rollups from public, anon, authenticated;
grant select, insert, update, delete on table copperplate.usage_rollups to service_role;

create function copperplate.add_histograms(p_left bigint[], p_right bigint[])
returns bigint[]
language sql
immutable
security invoker
set search_path = ''
as $$
    select array_agg(coalesce(t.l, 0) + coalesce(t.r, 0) order by t.n)
    from unnest(p_left, p_right) with ordinality as t (l, r, n);
$$;

comment on function copperplate.add_histograms(bigint[], bigint[]) is 'Adds two histograms bucket by bucket.';
revoke all on function copperplate.add_histograms(bigint[], bigint[]) from public, anon, authenticated;
grant execute on function copperplate.add_histograms(bigint[], bigint[]) to service_role;

create function copperplate.fold_totals()
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    with gone as (
        delete from copperplate.public_totals as t
        where t.ctid = any(array(
            select u.ctid from copperplate.public_totals as u limit 5000 for update skip locked
        ))
        returning t.*
    )
    insert into copperplate.public_totals (
        day, kind, requests, api_calls, hits, misses, saved, failures, completed, accesses, images, image_bytes,
        stored_bytes
    )
    select
        g.day, g.kind, sum(g.requests), sum(g.api_calls), sum(g.hits), sum(g.misses), sum(g.saved), sum(g.failures),
        sum(g.completed), sum(g.accesses), sum(g.images), sum(g.image_bytes), sum(g.stored_bytes)
    from gone as g
    group by g.day, g.kind;
$$;

comment on function copperplate.fold_totals() is
'Merges the public totals into one row a day and kind; concurrent calls split the work.';
revoke all on function copperplate.fold_totals() from public, anon, authenticated;
grant execute on function copperplate.fold_totals() to service_role;

-- Batches of counts that were taken, so that one that is sent again changes nothing. A process sends a batch for an
-- hour at most (usage.py), and its id is kept for two.
create table copperplate.usage_batches (
    id uuid not null,
    recorded_at timestamptz not null,
    constraint usage_batches_pkey primary key (id)
);

create index usage_batches_recorded_idx on copperplate.usage_batches (recorded_at);

comment on table copperplate.usage_batches is
'Batches of counts taken within the last two hours. Row-level security is on without a policy.';

alter table copperplate.usage_batches enable row level security;
revoke all on table copperplate.usage_batches from public, anon, authenticated, service_role;
-- To lock a row takes the right to update it.
grant select, insert, update, delete on table copperplate.usage_batches to service_role;

create function copperplate.forget_old_batches(p_limit integer)
returns void
language sql
volatile
security invoker
set search_path = ''
as $$
    delete from copperplate.usage_batches as b
    where b.id in (
        select o.id
        from copperplate.usage_batches as o
        where o.recorded_at < copperplate.clock() - interval '2 hours'
        order by o.recorded_at
        limit p_limit
        for update skip locked
    );
$$;

comment on function copperplate.forget_old_batches(integer) is
'Forget ids of batches that nobody sends any more, at most p_limit.';
revoke all on function copperplate.forget_old_batches(integer) from public, anon, authenticated;
grant execute on function copperplate.forget_old_batches(integer) to service_role;

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

create function public.get_generation_stats()
returns table (
    total_requests bigint,
    total_api_calls_made bigint,
    total_api_calls_saved bigint,
    total_completed bigint,
    total_failed bigint,
    total_hits bigint,
    total_misses bigint,
    efficiency_percent numeric,
    requests_today bigint,
    api_calls_made_today bigint,
    api_calls_saved_today bigint,
    completed_today bigint,
    failed_today bigint,
    hits_today bigint,
    misses_today bigint
)
language sql
volatile
security invoker
set search_path = ''
as $$
    with today as (
        select (copperplate.clock() at time zone 'UTC')::date as day
    ),

    sums as (
        select
            coalesce(sum(t.requests), 0)::bigint as requests,
            coalesce(sum(t.api_calls), 0)::bigint as api_calls,
            coalesce(sum(t.completed), 0)::bigint as completed,
            coalesce(sum(t.failures), 0)::bigint as failures,
            coalesce(sum(t.hits), 0)::bigint as hits,
            coalesce(sum(t.misses), 0)::bigint as misses,
            coalesce(sum(t.saved), 0)::bigint as saved,
            coalesce(sum(t.requests) filter (where t.day = d.day), 0)::bigint as requests_today,
            coalesce(sum(t.api_calls) filter (where t.day = d.day), 0)::bigint as api_calls_today,
            coalesce(sum(t.completed) filter (where t.day = d.day), 0)::bigint as completed_today,
            coalesce(sum(t.failures) filter (where t.day = d.day), 0)::bigint as failures_today,
            coalesce(sum(t.hits) filter (where t.day = d.day), 0)::bigint as hits_today,
            coalesce(sum(t.misses) filter (where t.day = d.day), 0)::bigint as misses_today,
            coalesce(sum(t.saved) filter (where t.day = d.day), 0)::bigint as saved_today
        from today as d
        left join copperplate.public_totals as t on true
    )

    select
        s.requests, s.api_calls, s.saved, s.completed, s.failures, s.hits, s.misses,
        round(100.0 * s.saved / nullif(s.hits + s.misses, 0), 1),
        s.requests_today, s.api_calls_today, s.saved_today, s.completed_today, s.failures_today, s.hits_today,
        s.misses_today
    from sums as s;
$$;

comment on function public.get_generation_stats() is
'One row: requests, provider calls made and saved, since the beginning and today (UTC).
Saved are the pictures served without a call: hits, and what was shared with the caller who made it. A failed request
saves nothing. efficiency_percent is what was saved of all pictures served.';
revoke all on function public.get_generation_stats() from public, anon, authenticated;
grant execute on function public.get_generation_stats() to service_role, anon, authenticated;

create function public.get_savings()
returns table (
    kind text,
    served bigint,
    saved bigint,
    efficiency_percent numeric,
    spent_micro_usd bigint,
    saved_micro_usd bigint,
    estimated bigint,
    unpriced bigint,
    unpriced_saved bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select
        k.name,
        t.served::bigint,
        t.saved::bigint,
        round(100.0 * t.saved / nullif(t.served, 0), 1),
        m.spent_micro_usd::bigint,
        m.saved_micro_usd::bigint,
        m.estimated::bigint,
        m.unpriced::bigint,
        m.unpriced_saved::bigint
    from copperplate.kinds as k
    cross join lateral (
        select
            coalesce(sum(p.hits + p.misses), 0) as served,
            coalesce(sum(p.saved), 0) as saved
        from copperplate.public_totals as p
        where p.kind = k.name
    ) as t
    cross join lateral (
        select
            coalesce(sum(o.spent_micro_usd), 0) as spent_micro_usd,
            coalesce(sum(o.saved_micro_usd), 0) as saved_micro_usd,
            coalesce(sum(o.estimated), 0) as estimated,
            coalesce(sum(o.unpriced), 0) as unpriced,
            coalesce(sum(o.unpriced_saved), 0) as unpriced_saved
        from copperplate.money_totals as o
        where o.kind = k.name
    ) as m
    order by k.name;
$$;

comment on function public.get_savings() is
'A row for each kind of picture: pictures served, and saved, those of them that cost no call; what was spent, and what
the saved ones would have cost at the price each was made for, in millionths of a dollar. estimated submits count with
their estimate; unpriced submits, and unpriced_saved pictures, have no known price and are in no sum.';
revoke all on function public.get_savings() from public, anon, authenticated;
grant execute on function public.get_savings() to service_role;
