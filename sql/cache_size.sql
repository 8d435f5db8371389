-- How large is the cache?
select
    count(*) as total_cached_images,
    sum(file_size) as total_size_bytes,
    avg(access_count) as avg_access_count
from public.image_cache;
