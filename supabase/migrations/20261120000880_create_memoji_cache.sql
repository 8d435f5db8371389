-- Memoji as people know them: one row per picture, which is its generation's original.
create view public.memoji_cache
with (security_invoker = true)
as
select
    g.prompt_hash,
    g.recipe as configuration,
    g.model,
    g.dimensions,
    g.generated_url as image_url,
    e.access_count as usage_count,
    e.last_accessed_at as last_used_at,
    -- In dollars; null where the model has no price.
    round(copperplate.spent_micro_usd(g.prompt_hash) / 1000000.0, 6) as generation_cost,
    e.created_at,
    e.archived_at,
    e.file_size,
    e.path as object_path,
    e.digest
from copperplate.cache_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
where e.kind = 'memoji' and e.is_original;

comment on view public.memoji_cache is
'Cached memoji. generation_cost is in dollars, null where no price is known; archived_at marks those kept for good.
Deleting a row declares the picture wrong: it goes, with its object.';

revoke all on table public.memoji_cache from public, anon, authenticated, service_role;
grant select, delete on table public.memoji_cache to service_role;

create trigger memoji_cache_delete
instead of delete on public.memoji_cache
for each row execute function copperplate.delete_picture();

create function public.cleanup_old_memoji(
    p_older_than interval default '90 days',
    p_min_uses bigint default 2,
    p_archive_above bigint default 100,
    p_limit integer default 1000
)
returns jsonb
language plpgsql
volatile
security invoker
set search_path = ''
as $$
declare
    v_archived bigint;
    v_answer jsonb;
begin
    -- First: what is archived is kept for good, whatever is asked below.
    with much_used as (
        select e.key
        from copperplate.cache_entries as e
        where e.kind = 'memoji' and e.is_original and e.archived_at is null and e.access_count > p_archive_above
        limit p_limit
        for update skip locked
    )

    update copperplate.cache_entries as e
    set archived_at = copperplate.clock()
    from much_used as m
    where e.key = m.key;
    get diagnostics v_archived = row_count;

    with old as (
        select g.prompt_hash, e.file_size
        from copperplate.cache_entries as e
        inner join public.generation_status as g on e.generation_key = g.prompt_hash
        where
            e.kind = 'memoji' and e.is_original and e.archived_at is null
            and e.created_at < copperplate.clock() - p_older_than and e.access_count < p_min_uses
        order by e.created_at
        limit p_limit
        for update of g skip locked
    ),

    gone as (
        delete from public.generation_status as g
        using old as o
        where g.prompt_hash = o.prompt_hash
        returning o.file_size
    )

    select jsonb_build_object('memoji', count(*), 'bytes', coalesce(sum(gone.file_size), 0), 'archived', v_archived)
    into v_answer
    from gone;
    return v_answer;
end;
$$;

comment on function public.cleanup_old_memoji(interval, bigint, bigint, integer) is
'Archive memoji used more than p_archive_above times (100), remove those older than p_older_than (90 days) with fewer
than p_min_uses uses (2); at most p_limit of each a call; answers counts. Call it again while it answers more than zero.';

create function public.count_old_memoji(
    p_older_than interval default '90 days', p_min_uses bigint default 2, p_archive_above bigint default 100
)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    with kept as (
        select
            e.file_size,
            e.access_count > p_archive_above as is_much_used,
            e.created_at < copperplate.clock() - p_older_than and e.access_count < p_min_uses as is_old
        from copperplate.cache_entries as e
        where e.kind = 'memoji' and e.is_original and e.archived_at is null
    )

    select jsonb_build_object(
        'memoji', count(*) filter (where k.is_old),
        'bytes', coalesce(sum(k.file_size) filter (where k.is_old), 0),
        'archived', count(*) filter (where k.is_much_used)
    )
    from kept as k;
$$;

comment on function public.count_old_memoji(interval, bigint, bigint) is
'What cleanup_old_memoji would remove and archive by and by, as the same counts; changes nothing.';

create function public.get_memoji_stats()
returns table (
    total_memoji bigint,
    total_usage bigint,
    avg_usage numeric,
    total_size_bytes bigint,
    hits bigint,
    misses bigint,
    efficiency_percent numeric,
    spent_micro_usd bigint,
    saved_micro_usd bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    with totals as (
        select
            coalesce(sum(t.images), 0)::bigint as images,
            coalesce(sum(t.accesses), 0)::bigint as accesses,
            coalesce(sum(t.image_bytes), 0)::bigint as image_bytes,
            coalesce(sum(t.hits), 0)::bigint as hits,
            coalesce(sum(t.misses), 0)::bigint as misses
        from copperplate.public_totals as t
        where t.kind = 'memoji'
    )

    select
        t.images, t.accesses, round(t.accesses::numeric / nullif(t.images, 0), 2), t.image_bytes, t.hits, t.misses,
        s.efficiency_percent, s.spent_micro_usd, s.saved_micro_usd
    from totals as t
    inner join public.get_savings() as s on s.kind = 'memoji';
$$;

comment on function public.get_memoji_stats() is
'One row: memoji kept, how often they were used, hits, misses, and money spent and saved in millionths of a dollar.';

revoke all on function public.cleanup_old_memoji(interval, bigint, bigint, integer) from public, anon, authenticated;
revoke all on function public.count_old_memoji(interval, bigint, bigint) from public, anon, authenticated;
revoke all on function public.get_memoji_stats() from public, anon, authenticated;
grant execute on function public.cleanup_old_memoji(interval, bigint, bigint, integer) to service_role;
grant execute on function public.count_old_memoji(interval, bigint, bigint) to service_role;
grant execute on function public.get_memoji_stats() to service_role;
