-- What operators look at from outside: `copperplate doctor`, /readyz and /metrics.

create function public.check_setup()
returns jsonb
language plpgsql
stable
security invoker
set search_path = ''
as $$
declare
    v_buckets jsonb;
begin
    -- Only a Supabase project has buckets; elsewhere pictures lie in a folder.
    if to_regclass('storage.buckets') is not null then
        execute 'select jsonb_object_agg(b.id, b.public) from storage.buckets as b' into v_buckets;
    end if;
    return jsonb_build_object(
        -- The version of this migration, the last one; a test holds it.
        'schema', '20261120001000',
        'postgres', current_setting('server_version'),
        'now', extract(epoch from copperplate.clock()),
        'buckets', v_buckets
    );
end;
$$;

comment on function public.check_setup() is
'What this database is: version of our schema and of Postgres, its time in seconds since 1970, and whether each
Storage bucket is public (null where there is no Storage).';

create function public.get_usage_totals()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    with sums as (
        select
            r.kind, r.provider, r.model, r.outcome, r.tier,
            sum(r.requests) as requests, sum(r.bytes) as bytes,
            sum(r.cost_micro_usd) as cost_micro_usd, sum(r.saved_micro_usd) as saved_micro_usd
        from copperplate.usage_rollups as r
        group by r.kind, r.provider, r.model, r.outcome, r.tier
    ),

    latencies as (
        select l.kind, l.outcome, jsonb_agg(l.total order by l.n) as buckets
        from (
            select r.kind, r.outcome, h.n, sum(h.count) as total
            from copperplate.usage_rollups as r
            cross join lateral unnest(r.latency) with ordinality as h (count, n)
            group by r.kind, r.outcome, h.n
        ) as l
        group by l.kind, l.outcome
    )

    select jsonb_build_object(
        'usage', (select coalesce(jsonb_agg(to_jsonb(s)), '[]') from sums as s),
        'latency', (select coalesce(jsonb_agg(to_jsonb(l)), '[]') from latencies as l),
        'in_flight', (
            select count(*) from public.generation_status as g where g.status in ('pending', 'generating')
        ),
        'discarded', (select count(*) from copperplate.discarded_objects)
    );
$$;

comment on function public.get_usage_totals() is
'Requests, bytes and money since the beginning by kind, provider, model, outcome and tier, histograms of the time to
answer, generations in flight, and objects that wait to be removed. For /metrics.';

revoke all on function public.check_setup() from public, anon, authenticated;
revoke all on function public.get_usage_totals() from public, anon, authenticated;
grant execute on function public.check_setup() to service_role;
grant execute on function public.get_usage_totals() to service_role;
