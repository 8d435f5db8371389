-- What must be true of entries. A row here is a fault: of ours, or of a hand that changed a table.
create view copperplate.entry_faults
with (security_invoker = true)
as
with forms as (
    select
        e.generation_key,
        e.kind,
        e.format,
        count(*) filter (where e.is_shown) as shown,
        bool_or(e.is_shown and not e.is_sized and coalesce(e.quality, 85) = 85) as shows_standard,
        bool_or(not e.is_sized and coalesce(e.quality, 85) = 85) as has_standard
    from copperplate.cache_entries as e
    where not e.is_original
    group by e.generation_key, e.kind, e.format
),

generations as (
    select
        g.prompt_hash as generation_key,
        g.kind,
        count(e.key) filter (where e.is_original) as originals,
        count(e.key) filter (where e.is_original and e.is_shown) as shown_originals,
        count(e.key) filter (where not e.is_original) as renditions,
        case g.status when 'completed' then 1 else 0 end as expected
    from public.generation_status as g
    left join copperplate.cache_entries as e on g.prompt_hash = e.generation_key
    group by g.prompt_hash
),

totals as (
    select
        p.kind,
        sum(p.images) as images,
        sum(p.image_bytes) as image_bytes,
        sum(p.stored_bytes) as stored_bytes,
        sum(p.accesses) as accesses
    from copperplate.public_totals as p
    group by p.kind
),

sums as (
    select
        k.name as kind,
        t.images,
        t.image_bytes,
        t.stored_bytes,
        t.accesses,
        count(e.key) filter (where e.is_shown) as shown,
        coalesce(sum(e.file_size) filter (where e.is_shown), 0) as shown_bytes,
        coalesce(sum(e.file_size), 0) as bytes,
        coalesce(sum(e.access_count), 0) as uses
    from copperplate.kinds as k
    left join totals as t on k.name = t.kind
    left join copperplate.cache_entries as e on k.name = e.kind
    group by k.name, t.images, t.image_bytes, t.stored_bytes, t.accesses
),

compared as (
    select
        f.generation_key,
        f.kind,
        'shown renditions in ' || f.format as fault,
        f.shown as found,
        case when k.is_own_original then 0 else 1 end as expected
    from forms as f
    inner join copperplate.kinds as k on f.kind = k.name
    union all
    select
        f.generation_key,
        f.kind,
        'the standard form is shown in ' || f.format as fault,
        f.shows_standard::integer as found,
        (f.has_standard and not k.is_own_original)::integer as expected
    from forms as f
    inner join copperplate.kinds as k on f.kind = k.name
    union all
    select
        g.generation_key,
        g.kind,
        'originals' as fault,
        g.originals as found,
        g.expected
    from generations as g
    union all
    select
        g.generation_key,
        g.kind,
        'shown originals' as fault,
        g.shown_originals as found,
        case when k.is_own_original then g.originals else 0 end as expected
    from generations as g
    inner join copperplate.kinds as k on g.kind = k.name
    union all
    select
        g.generation_key,
        g.kind,
        'renditions' as fault,
        g.renditions as found,
        least(g.renditions, 64) as expected
    from generations as g
    union all
    select
        null as generation_key,
        s.kind,
        t.fault,
        t.found,
        t.expected
    from sums as s
    cross join lateral (
        values
        ('total of pictures', coalesce(s.images, 0), s.shown),
        ('total of their bytes', coalesce(s.image_bytes, 0), s.shown_bytes),
        ('total of stored bytes', coalesce(s.stored_bytes, 0), s.bytes),
        ('total of uses', coalesce(s.accesses, 0), s.uses)
    ) as t (fault, found, expected)
)

select
    c.generation_key,
    c.kind,
    c.fault,
    c.found,
    c.expected
from compared as c
where c.found <> c.expected;

comment on view copperplate.entry_faults is
'Generations whose entries are not what they must be, and totals that are not the sums of entries; empty, always.';
revoke all on table copperplate.entry_faults from public, anon, authenticated, service_role;
grant select on table copperplate.entry_faults to service_role;

create function public.audit_entries()
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object(
        'pictures', count(*) filter (where e.is_shown),
        'originals', count(*) filter (where e.is_original),
        'renditions', count(*) filter (where not e.is_original),
        'bytes', coalesce(sum(e.file_size), 0),
        'faults', (select coalesce(jsonb_agg(to_jsonb(f)), '[]') from copperplate.entry_faults as f)
    )
    from copperplate.cache_entries as e;
$$;

comment on function public.audit_entries() is
'Counts of entries, and faults: rows of copperplate.entry_faults, of which there should be none.';
revoke all on function public.audit_entries() from public, anon, authenticated;
grant execute on function public.audit_entries() to service_role;
