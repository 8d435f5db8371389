-- What processes keep in their tiers, as each of them reported last. It is for people: nothing is decided by it.
create table copperplate.tier_reports (
    tier text not null,
    -- A process; or the folder or server that processes share, of which each reports the same.
    holder text not null,
    entries bigint not null,
    bytes bigint not null,
    -- Null: empty, or not known.
    oldest_at timestamptz,
    reported_at timestamptz not null default copperplate.clock(),
    constraint tier_reports_pkey primary key (tier, holder),
    constraint tier_reports_tier_is_known check (tier in ('memory', 'disk', 'redis')),
    constraint tier_reports_holder_is_an_id check (holder ~ '^[0-9a-f-]{16,64}$'),
    constraint tier_reports_counted check (entries >= 0 and bytes >= 0)
);

comment on table copperplate.tier_reports is
'What is in the tiers of each process, and in those that processes share, as reported in the last five minutes.
Row-level security is on without a policy: only service_role and the owner see rows.';

alter table copperplate.tier_reports enable row level security;
revoke all on table copperplate.tier_reports from public, anon, authenticated, service_role;
grant select, insert, update, delete on table copperplate.tier_reports to service_role;

create function public.report_tiers(p_process uuid, p_tiers jsonb)
returns integer
language plpgsql
volatile
security invoker
set search_path = ''
-- Processes that share a folder write the same row. Who would wait for another has nothing new to say, and passes it
-- over; only for a row that is new to both it waits so long.
set lock_timeout = '500ms'
as $$
declare
    v_now timestamptz := copperplate.clock();
    v_noted integer;
begin
    with reported as materialized (
        select
            r.tier,
            coalesce(nullif(r.place, ''), p_process::text) as holder,
            r.entries,
            r.bytes,
            v_now - make_interval(secs => r.oldest_seconds) as oldest_at
        from jsonb_to_recordset(p_tiers) as r (
            tier text, place text, entries bigint, bytes bigint, oldest_seconds double precision
        )
    ),

    free as materialized (
        select
            t.tier,
            t.holder
        from copperplate.tier_reports as t
        inner join reported as r on t.tier = r.tier and t.holder = r.holder
        for update of t skip locked
    ),

    updated as (
        update copperplate.tier_reports as t
        set
            entries = r.entries,
            bytes = r.bytes,
            oldest_at = r.oldest_at,
            reported_at = v_now
        from free as f
        inner join reported as r on f.tier = r.tier and f.holder = r.holder
        where t.tier = f.tier and t.holder = f.holder
        returning 1
    ),

    inserted as (
        insert into copperplate.tier_reports (tier, holder, entries, bytes, oldest_at, reported_at)
        select
            r.tier,
            r.holder,
            r.entries,
            r.bytes,
            r.oldest_at,
            v_now
        from reported as r
        -- On conflict alone it would wait for the row that another updates.
        where not exists (
            select from copperplate.tier_reports as t where t.tier = r.tier and t.holder = r.holder
        )
        -- In one order: two reports never wait for each other in a ring.
        order by 1, 2
        on conflict on constraint tier_reports_pkey do nothing
        returning 1
    )

    select (select count(*) from updated) + (select count(*) from inserted) into v_noted;

    delete from copperplate.tier_reports as t
    where (t.tier, t.holder) in (
        select o.tier, o.holder
        from copperplate.tier_reports as o
        where o.reported_at <= v_now - interval '5 minutes'
        limit 1000
        for update skip locked
    );
    return v_noted;
end;
$$;

comment on function public.report_tiers(uuid, jsonb) is
'Note what is in the tiers of a process, [{tier, place, entries, bytes, oldest_seconds}], in place of its last report;
place names a folder or server that processes share. Reports older than five minutes go. Answers how many
were noted: not what another process is reporting.';
revoke all on function public.report_tiers(uuid, jsonb) from public, anon, authenticated;
grant execute on function public.report_tiers(uuid, jsonb) to service_role;

create function public.read_tiers()
returns table (
    tier text,
    places bigint,
    entries bigint,
    bytes bigint,
    oldest_seconds double precision,
    hits_today bigint,
    served_bytes_today bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    with kept as (
        select
            r.tier,
            count(*) as places,
            sum(r.entries) as entries,
            sum(r.bytes) as bytes,
            extract(epoch from copperplate.clock() - min(r.oldest_at)) as oldest_seconds
        from copperplate.tier_reports as r
        where r.reported_at > copperplate.clock() - interval '5 minutes'
        group by r.tier
        union all
        select 'storage', 0, coalesce(sum(t.images), 0), coalesce(sum(t.stored_bytes), 0), null
        from copperplate.public_totals as t
    ),

    hits as (
        select u.tier, sum(u.requests) as requests, sum(u.bytes) as bytes
        from copperplate.usage_rollups as u
        where
            u.day = (copperplate.clock() at time zone 'UTC')::date
            and u.outcome in ('hit', 'stale')
        group by u.tier
    )

    select
        n.tier,
        coalesce(k.places, 0)::bigint,
        coalesce(k.entries, 0)::bigint,
        coalesce(k.bytes, 0)::bigint,
        k.oldest_seconds::double precision,
        coalesce(h.requests, 0)::bigint,
        coalesce(h.bytes, 0)::bigint
    from unnest(array['memory', 'disk', 'redis', 'storage']) with ordinality as n (tier, place)
    left join kept as k on n.tier = k.tier
    left join hits as h on n.tier = h.tier
    order by n.place;
$$;

comment on function public.read_tiers() is
'A row for memory, disk, redis and storage: the processes, folders or servers that reported in the last five minutes,
their entries and bytes, the age of the oldest, and hits and bytes served from there today (UTC). Of storage: pictures
kept, and all bytes.';
revoke all on function public.read_tiers() from public, anon, authenticated;
grant execute on function public.read_tiers() to service_role;
