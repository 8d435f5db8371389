-- How large is the cache?
select
    count(*) as total_cached_images,
    sum(file_size) as total_size_bytes,
    round(avg(access_count), 2) as avg_access_count
from public.image_cache;
