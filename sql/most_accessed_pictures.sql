-- Which cached pictures are served most?
select
    prompt,
    dimensions,
    format,
    access_count,
    created_at,
    last_accessed_at
from public.image_cache
order by access_count desc
limit 10;
