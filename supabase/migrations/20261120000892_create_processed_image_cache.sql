-- Processed pictures as people know them: one row per result, and one per picture that was brought. Thin forms of what
-- every kind has.
create view public.processed_image_cache
with (security_invoker = true)
as
select
    g.recipe ->> 'source' as image_hash,
    g.recipe ->> 'operation' as operation,
    e.path as result,
    e.created_at as timestamp,
    e.generation_key as generation_hash,
    g.model,
    g.recipe -> 'parameters' as parameters,
    g.dimensions,
    e.format,
    e.file_size,
    e.access_count,
    e.last_accessed_at,
    -- In dollars; null where the model has no price.
    round(copperplate.spent_micro_usd(g.prompt_hash) / 1000000.0, 6) as generation_cost,
    e.digest,
    e.generation_ms,
    copperplate.payer_of(e.generation_key) as payer,
    e.thumbhash,
    e.color
from copperplate.shown_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
where g.kind = 'processed';

comment on view public.processed_image_cache is
'Processed pictures, one row per result: image_hash is the SHA-256 of the picture that was brought, result the path of
the object in the bucket processed-images. generation_cost is in dollars, null where no price is known.
Deleting a row declares the result wrong: it goes, with its object.';

revoke all on table public.processed_image_cache from public, anon, authenticated, service_role;
grant select, delete on table public.processed_image_cache to service_role;

create trigger processed_image_cache_delete
instead of delete on public.processed_image_cache
for each row execute function copperplate.delete_picture();

create view public.processed_uploads
with (security_invoker = true)
as
select
    s.digest as image_hash,
    r.bg_removed,
    r.upscaled,
    r.face_detailed,
    r.timestamp,
    s.width,
    s.height,
    s.format,
    s.size_bytes as file_size,
    s.created_at as uploaded_at,
    s.last_used_at
from copperplate.source_pictures as s
cross join lateral (
    select
        (array_agg(e.path order by e.created_at desc, e.key asc) filter (
            where g.recipe ->> 'operation' = 'remove-background'
        ))[1] as bg_removed,
        (array_agg(e.path order by e.created_at desc, e.key asc) filter (
            where g.recipe ->> 'operation' = 'upscale'
        ))[1] as upscaled,
        (array_agg(e.path order by e.created_at desc, e.key asc) filter (
            where g.recipe ->> 'operation' = 'face-detail'
        ))[1] as face_detailed,
        max(e.created_at) as timestamp
    from public.generation_status as g
    inner join copperplate.cache_entries as e on g.prompt_hash = e.generation_key and e.is_original
    where g.kind = 'processed' and g.recipe ->> 'source' = s.digest
) as r;

comment on view public.processed_uploads is
'Pictures that were brought to be processed, one row each: the path of the newest result of each operation in the bucket
processed-images, null where there is none, and when the newest of them was made.';

revoke all on table public.processed_uploads from public, anon, authenticated, service_role;
grant select on table public.processed_uploads to service_role;

create function public.cleanup_old_processed_images(
    p_older_than interval default '30 days', p_limit integer default 1000
)
returns jsonb
language sql
volatile
security invoker
set search_path = ''
as $$
    select jsonb_build_object('processed_pictures', c.counts -> 'pictures')
        || (c.counts - array['pictures', 'generations', 'archived'])
    from public.cleanup_entries('processed', p_limit, null, p_older_than) as c (counts);
$$;

comment on function public.cleanup_old_processed_images(interval, integer) is
'Remove processed pictures not used for p_older_than (30 days), and what is known of pictures of which nothing is left;
at most p_limit of each a call; answers counts. Call it again while it answers more than zero.';
revoke all on function public.cleanup_old_processed_images(interval, integer) from public, anon, authenticated;
grant execute on function public.cleanup_old_processed_images(interval, integer) to service_role;

create function public.count_old_processed_images(p_older_than interval default '30 days')
returns jsonb
language sql
stable
security invoker
set search_path = ''
as $$
    select jsonb_build_object('processed_pictures', c.counts -> 'pictures')
        || (c.counts - array['pictures', 'generations', 'archived'])
    from public.count_old_entries('processed', p_older_than) as c (counts);
$$;

comment on function public.count_old_processed_images(interval) is
'What cleanup_old_processed_images would remove by and by, as the same counts; changes nothing.';
revoke all on function public.count_old_processed_images(interval) from public, anon, authenticated;
grant execute on function public.count_old_processed_images(interval) to service_role;
