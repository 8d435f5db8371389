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
language plpgsql
volatile
security invoker
set search_path = ''
as $$
begin
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
end;
$$;

comment on function copperplate.fold_totals() is
'Merges the public totals into one row a day and kind; concurrent calls split the work.';
revoke all on function copperplate.fold_totals() from public, anon, authenticated;
grant execute on function copperplate.fold_totals() to service_role;
