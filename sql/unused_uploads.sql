-- Which pictures does a cleanup forget? Those of which no result is left, and that were not used for 30 days.
select
    s.digest as image_hash,
    s.format,
    s.width,
    s.height,
    s.size_bytes as file_size,
    s.created_at as uploaded_at,
    s.last_used_at
from copperplate.source_pictures as s
where
    s.last_used_at < now() - interval '30 days'
    and not exists (
        select from public.generation_status as g
        where g.kind = 'processed' and g.recipe ->> 'source' = s.digest
    )
order by s.last_used_at;
