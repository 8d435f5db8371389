-- What was made of one picture? Put the SHA-256 of its bytes as they came, image_hash, in the next line.
with asked as (select '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'::text as image_hash)

select
    p.operation,
    p.model,
    p.parameters,
    p.result,
    p.timestamp,
    p.dimensions,
    p.file_size,
    p.access_count,
    p.last_accessed_at,
    p.generation_cost,
    p.payer,
    p.generation_hash
from asked as a
inner join public.processed_image_cache as p on a.image_hash = p.image_hash
order by p.timestamp desc, p.generation_hash asc;
