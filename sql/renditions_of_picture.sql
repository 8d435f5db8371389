-- Which forms of a picture are kept? Put its key in the next line: a prompt_hash or generation_hash.
with asked as (select '3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3'::text as key)

select
    e.format,
    e.width,
    e.height,
    e.quality,
    e.file_size,
    e.access_count,
    e.last_accessed_at,
    e.is_original,
    -- A row of image_cache or memoji_cache; the others stand in image_renditions.
    e.is_shown,
    e.key
from asked as a
inner join copperplate.cache_entries as c on a.key in (c.key, c.generation_key)
inner join copperplate.cache_entries as e on c.generation_key = e.generation_key
group by e.key
order by e.is_original desc, e.format asc, e.width asc, e.quality asc;
