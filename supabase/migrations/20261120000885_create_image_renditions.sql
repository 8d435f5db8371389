-- The other forms of images: sizes and qualities beside those that image_cache shows.
create view public.image_renditions
with (security_invoker = true)
as
select
    e.key as prompt_hash,
    e.generation_key as generation_hash,
    g.prompt,
    g.dimensions,
    e.width,
    e.height,
    e.format,
    e.quality,
    g.model,
    e.access_count,
    e.created_at,
    e.last_accessed_at,
    e.file_size,
    e.path as object_path,
    e.digest,
    e.encoder_version
from copperplate.cache_entries as e
inner join public.generation_status as g on e.generation_key = g.prompt_hash
where e.kind = 'image' and not e.is_original and not e.is_shown;

comment on view public.image_renditions is
'Kept renditions of cached pictures in other sizes and qualities than image_cache shows, at most 64 of a picture.
Deleting a row removes that rendition alone; it is made again when it is asked for, and costs nothing.';

revoke all on table public.image_renditions from public, anon, authenticated, service_role;
grant select, delete on table public.image_renditions to service_role;

create function copperplate.delete_rendition()
returns trigger
language plpgsql
security invoker
set search_path = ''
as $$
begin
    -- Generation first, then entries: the one lock order.
    perform from public.generation_status as g where g.prompt_hash = old.generation_hash for no key update;
    delete from copperplate.cache_entries as e where e.key = old.prompt_hash;
    return old;
end;
$$;

comment on function copperplate.delete_rendition() is
'Makes DELETE through image_renditions remove that rendition alone.';
revoke all on function copperplate.delete_rendition() from public, anon, authenticated;
grant execute on function copperplate.delete_rendition() to service_role;

create trigger image_renditions_delete
instead of delete on public.image_renditions
for each row execute function copperplate.delete_rendition();
