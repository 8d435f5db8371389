-- Images as people know them: one row per prompt, size and format. Thin forms of what every kind has.
create view public.image_cache
with (security_invoker = true)
as
select
    e.key as prompt_hash,
    e.generation_key as generation_hash,
    g.prompt,
    g.dimensions,
    e.format,
    g.model,
    e.access_count,
    e.created_at,
    e.last_accessed_at,
    e.file_size,
    e.path as object_path,
    e.digest
from copperplate.shown_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
where e.kind = 'image';

comment on view public.image_cache is
'Cached pictures, one row per prompt, size and format.
Deleting a row declares the picture wrong: its generation, every format of it and its original go.';

revoke all on table public.image_cache from public, anon, authenticated, service_role;
grant select, delete on table public.image_cache to service_role;

create function copperplate.delete_picture()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    -- The row goes, and with it every lease on it: the next holder's fence is higher whatever happens.
    -- A view names its generation's key generation_hash, unless that is the key people know.
    delete from public.generation_status as g
    where g.prompt_hash = coalesce(to_jsonb(old) ->> 'generation_hash', to_jsonb(old) ->> 'prompt_hash');
    return old;
end;
$$;

comment on function copperplate.delete_picture() is 'Makes DELETE through a view remove the whole generation.';
revoke all on function copperplate.delete_picture() from public, anon, authenticated;
grant execute on function copperplate.delete_picture() to service_role;

create trigger image_cache_delete
instead of delete on public.image_cache
for each row execute function copperplate.delete_picture();

create function public.cleanup_old_cache_entries(
    p_older_than interval default '30 days', p_limit integer default 1000, p_after text default null
)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select jsonb_build_object('images', c.counts -> 'pictures') || (c.counts - array['pictures', 'archived'])
    from public.cleanup_entries('image', p_limit, p_after, p_older_than) as c (counts);
$$;

comment on function public.cleanup_old_cache_entries(interval, integer, text) is
'Remove cached pictures not served for p_older_than (30 days); at most p_limit generations a call; answers counts.
Call it again while it answers more than zero. With p_after, empty at first, it looks at p_limit entries from there on
and answers where it has come to as reached, null at the end.';
revoke all on function public.cleanup_old_cache_entries(interval, integer, text) from public, anon, authenticated;
grant execute on function public.cleanup_old_cache_entries(interval, integer, text) to service_role;

create function public.count_old_cache_entries(p_older_than interval default '30 days')
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object('images', c.counts -> 'pictures') || (c.counts - array['pictures', 'archived'])
    from public.count_old_entries('image', p_older_than) as c (counts);
$$;

comment on function public.count_old_cache_entries(interval) is
'What cleanup_old_cache_entries would remove by and by, as the same counts; changes nothing.';
revoke all on function public.count_old_cache_entries(interval) from public, anon, authenticated;
grant execute on function public.count_old_cache_entries(interval) to service_role;

create function public.get_cache_stats()
returns table (
    total_cached_images bigint,
    total_access_count bigint,
    avg_access_count numeric,
    total_size_bytes bigint,
    total_stored_bytes bigint
)
language sql
stable
security invoker
set search_path = ''
as $$
    select t.pictures, t.accesses, t.avg_accesses, t.size_bytes, t.stored_bytes
    from copperplate.sum_totals('image') as t;
$$;

comment on function public.get_cache_stats() is
'One row: cached images, how often they were served, and their bytes; stored bytes include originals.';
revoke all on function public.get_cache_stats() from public, anon, authenticated;
grant execute on function public.get_cache_stats() to service_role, anon, authenticated;
