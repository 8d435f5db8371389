-- What was a picture made from, and what was made from it? Put its key in the next line: a prompt_hash or
-- generation_hash. Depth counts the steps from it: ancestors are below 0, descendants above.
with asked as (select '3ed7e497928c80824cc3ff3ce48549c26f75c151f10b38b639293a284ffb24c3'::text as key)

select
    l.depth,
    l.kind,
    l.operation,
    l.model,
    l.key,
    -- The SHA-256 of what it was made from, and the generation whose picture that is, whole or cropped.
    l.image_hash,
    l.parent_key,
    l.relation,
    l.crop,
    l.bytes,
    l.created_at
from asked as a
cross join lateral public.lineage_of(a.key) as l
order by l.depth asc, l.created_at asc;
