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
revoke all on function public.check_setup() from public, anon, authenticated;
grant execute on function public.check_setup() to service_role;

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
            sum(r.requests) as requests, sum(r.bytes) as bytes
        from copperplate.usage_rollups as r
        group by r.kind, r.provider, r.model, r.outcome, r.tier
    ),

    money as (
        select
            m.kind, m.provider, m.model,
            sum(m.submits) as submits, sum(m.estimated) as estimated, sum(m.unpriced) as unpriced,
            sum(m.spent_micro_usd) as spent_micro_usd, sum(m.saved) as saved,
            sum(m.unpriced_saved) as unpriced_saved, sum(m.saved_micro_usd) as saved_micro_usd
        from copperplate.money_totals as m
        group by m.kind, m.provider, m.model
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
        'money', (select coalesce(jsonb_agg(to_jsonb(m)), '[]') from money as m),
        'latency', (select coalesce(jsonb_agg(to_jsonb(l)), '[]') from latencies as l),
        'in_flight', (
            select count(*)
            from public.generation_status as g
            where g.status in ('pending', 'generating') and g.lease_until > copperplate.clock()
        ),
        'discarded', (select count(*) from copperplate.discarded_objects),
        'cdn_purges', (
            select coalesce(jsonb_agg(jsonb_build_object('scope', c.scope, 'purges', c.purges, 'since', c.since)), '[]')
            from (
                select p.scope, count(*) as purges, extract(epoch from min(p.declared_at)) as since
                from copperplate.cdn_purges as p
                group by p.scope
                order by p.scope
            ) as c
        )
    );
$$;

comment on function public.get_usage_totals() is
'Since the beginning: requests and bytes by kind, provider, model, outcome and tier; money by kind, provider and model;
histograms of the time to answer; generations that are led now; objects that wait to be removed; CDN purges that
wait, by scope, and since when, in seconds of the epoch. For /metrics.';
revoke all on function public.get_usage_totals() from public, anon, authenticated;
grant execute on function public.get_usage_totals() to service_role;

-- Security definer: only the owner may read which migrations are recorded. It takes nothing and answers versions.
create function copperplate.recorded_migrations()
returns text[]
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
    v_versions text[];
begin
    if to_regclass('supabase_migrations.schema_migrations') is not null then
        execute 'select array_agg(m.version::text order by m.version) from supabase_migrations.schema_migrations as m'
        into v_versions;
    end if;
    return v_versions;
end;
$$;

comment on function copperplate.recorded_migrations() is
'Versions of the migrations that are recorded as applied; null where there is no record.';
revoke all on function copperplate.recorded_migrations() from public, anon, authenticated;
grant execute on function copperplate.recorded_migrations() to service_role;

-- Of everything in our schema, and in public of what is named: how it is made, and who may do what. Postgres'
-- own catalogs tell, which every role may read.
create function public.describe_schema(p_names text[] default null)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    with ours as (
        select n.oid, n.nspname as name, n.nspname = 'copperplate' as is_all
        from pg_catalog.pg_namespace as n
        where n.nspname in ('public', 'copperplate')
    ),

    relations as (
        select
            c.oid, o.name || '.' || c.relname as name, c.relrowsecurity, c.relforcerowsecurity, c.reloptions,
            case c.relkind when 'S' then 'sequence' when 'v' then 'view' when 'c' then 'type' else 'table' end as kind,
            -- Up to version 15 every column is qualified, later only where it has to be.
            case
                when c.relkind = 'v' then regexp_replace(pg_catalog.pg_get_viewdef(c.oid), '\m\w+[.]', '', 'g')
            end as body
        from pg_catalog.pg_class as c
        inner join ours as o on c.relnamespace = o.oid
        where c.relkind in ('r', 'p', 'v', 'm', 'S', 'c') and (o.is_all or p_names is null or c.relname = any(p_names))
    ),

    columns as (
        select
            a.attrelid,
            string_agg(
                concat_ws(
                    ' ', a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attidentity,
                    a.attgenerated, pg_catalog.pg_get_expr(d.adbin, d.adrelid), a.attacl is not null
                ),
                ', ' order by a.attnum
            ) as made
        from pg_catalog.pg_attribute as a
        left join pg_catalog.pg_attrdef as d on a.attrelid = d.adrelid and a.attnum = d.adnum
        where a.attnum > 0 and not a.attisdropped
        group by a.attrelid
    ),

    objects (name, made, oid, rights) as (
        select 'schema ' || o.name, '', o.oid, array['usage', 'create'] from ours as o where o.is_all
        union all
        select
            r.kind || ' ' || r.name,
            concat_ws(' ', r.relrowsecurity, r.relforcerowsecurity, r.reloptions, c.made, r.body),
            r.oid,
            case
                when r.kind in ('table', 'view') then array['select', 'insert', 'update', 'delete', 'truncate']
                when r.kind = 'sequence' then array['usage', 'update']
            end
        from relations as r
        left join columns as c on r.oid = c.attrelid
        union all
        select 'constraint ' || r.name || ' ' || c.conname, pg_catalog.pg_get_constraintdef(c.oid), null, null
        from pg_catalog.pg_constraint as c
        inner join relations as r on c.conrelid = r.oid
        where c.contype <> 'n'
        union all
        select 'index ' || r.name || ' ' || c.relname, concat_ws(' ', pg_catalog.pg_get_indexdef(c.oid), i.indisvalid), null, null
        from pg_catalog.pg_index as i
        inner join relations as r on i.indrelid = r.oid
        inner join pg_catalog.pg_class as c on i.indexrelid = c.oid
        -- A constraint's own goes with it.
        where not exists (
            select from pg_catalog.pg_constraint as k where k.conrelid = i.indrelid and k.conindid = i.indexrelid
        )
        union all
        select 'trigger ' || r.name || ' ' || t.tgname, concat_ws(' ', pg_catalog.pg_get_triggerdef(t.oid), t.tgenabled), null, null
        from pg_catalog.pg_trigger as t
        inner join relations as r on t.tgrelid = r.oid
        where not t.tgisinternal
        union all
        select
            'policy ' || r.name || ' ' || p.polname,
            concat_ws(
                ' ', p.polcmd, p.polpermissive, p.polroles::regrole[],
                pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)
            ),
            null,
            null
        from pg_catalog.pg_policy as p
        inner join relations as r on p.polrelid = r.oid
        union all
        select
            'function ' || p.oid::regprocedure,
            concat_ws(
                ' ', replace(p.prosrc, E'\r', ''), pg_catalog.pg_get_function_sqlbody(p.oid), l.lanname, p.provolatile,
                p.prosecdef, p.proisstrict, p.proconfig, pg_catalog.pg_get_function_result(p.oid),
                pg_catalog.pg_get_function_arguments(p.oid)
            ),
            p.oid,
            array['execute']
        from pg_catalog.pg_proc as p
        inner join ours as o on p.pronamespace = o.oid
        inner join pg_catalog.pg_language as l on p.prolang = l.oid
        where o.is_all or p_names is null or p.proname = any(p_names)
    ),

    granted as (
        select o.name, string_agg(r.role || ' ' || v.verb, ', ' order by r.role, v.verb) as rights
        from objects as o
        cross join lateral unnest(o.rights) as v (verb)
        cross join unnest(array['anon', 'authenticated', 'service_role']) as r (role)
        where
            case
                when o.name like 'function %' then pg_catalog.has_function_privilege(r.role, o.oid, v.verb)
                when o.name like 'schema %' then pg_catalog.has_schema_privilege(r.role, o.oid, v.verb)
                when o.name like 'sequence %' then pg_catalog.has_sequence_privilege(r.role, o.oid, v.verb)
                else pg_catalog.has_table_privilege(r.role, o.oid, v.verb)
            end
        group by o.name
    )

    select jsonb_build_object(
        'migrations', to_jsonb(copperplate.recorded_migrations()),
        'objects', (
            select jsonb_object_agg(o.name, jsonb_build_array(md5(o.made), coalesce(g.rights, '')))
            from objects as o
            left join granted as g on o.name = g.name
        )
    );
$$;

comment on function public.describe_schema(text[]) is
'For copperplate doctor: the migrations that are recorded, and of each object in schema copperplate, and of those in
public that are named (all, without names), a digest of how it is made and what the API roles may do with it.';
revoke all on function public.describe_schema(text[]) from public, anon, authenticated;
grant execute on function public.describe_schema(text[]) to service_role;
