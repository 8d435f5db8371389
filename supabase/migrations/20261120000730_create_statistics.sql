-- Sums that people and operators read.

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
