-- Which pictures were brought to be processed last, and what was made of each? Paths are in bucket processed-images.
select
    u.image_hash,
    u.bg_removed,
    u.upscaled,
    u.face_detailed,
    u.timestamp,
    u.width,
    u.height,
    u.format,
    u.file_size,
    u.uploaded_at,
    -- They alone are told where the results are.
    (
        select string_agg(o.owner, ', ' order by o.created_at)
        from copperplate.source_owners as o
        where o.digest = u.image_hash
    ) as owners
from public.processed_uploads as u
order by u.last_used_at desc, u.image_hash asc
limit 20;
