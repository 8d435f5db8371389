-- Memoji as people know them: one row per picture, which is its generation's original. Thin forms of what every kind
-- has.
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
    e.digest,
    e.generation_ms,
    copperplate.payer_of(e.generation_key) as payer,
    w.path as webp_path,
    w.file_size as webp_file_size,
    e.has_c2pa,
    e.thumbhash,
    e.color
from copperplate.shown_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
left join copperplate.cache_entries as w
    on e.generation_key = w.generation_key and w.format = 'webp' and not w.is_sized and w.quality = 85
where e.kind = 'memoji';

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
language sql
volatile
security invoker
set search_path = ''
as $$
    select jsonb_build_object('memoji', c.counts -> 'pictures') || (c.counts - array['pictures', 'generations'])
    from public.cleanup_entries('memoji', p_limit, null, p_older_than, p_min_uses, p_archive_above) as c (counts);
$$;

comment on function public.cleanup_old_memoji(interval, bigint, bigint, integer) is
'Archive memoji used more than p_archive_above times (100), remove those older than p_older_than (90 days) with fewer
than p_min_uses uses (2); at most p_limit of each a call; answers counts. Call it again while it answers more than zero.';
revoke all on function public.cleanup_old_memoji(interval, bigint, bigint, integer) from public, anon, authenticated;
grant execute on function public.cleanup_old_memoji(interval, bigint, bigint, integer) to service_role;

create function public.count_old_memoji(
    p_older_than interval default '90 days', p_min_uses bigint default 2, p_archive_above bigint default 100
)
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object('memoji', c.counts -> 'pictures') || (c.counts - array['pictures', 'generations'])
    from public.count_old_entries('memoji', p_older_than, p_min_uses, p_archive_above) as c (counts);
$$;

comment on function public.count_old_memoji(interval, bigint, bigint) is
'What cleanup_old_memoji would remove and archive by and by, as the same counts; changes nothing.';
revoke all on function public.count_old_memoji(interval, bigint, bigint) from public, anon, authenticated;
grant execute on function public.count_old_memoji(interval, bigint, bigint) to service_role;

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
    select
        s.pictures, s.accesses, s.avg_accesses, s.size_bytes, s.hits, s.misses, s.efficiency_percent,
        s.spent_micro_usd, s.saved_micro_usd
    from public.get_kind_stats('memoji') as s;
$$;

comment on function public.get_memoji_stats() is
'One row: memoji kept, how often they were used, hits, misses, and money spent and saved in millionths of a dollar.';
revoke all on function public.get_memoji_stats() from public, anon, authenticated;
grant execute on function public.get_memoji_stats() to service_role;
