-- How much storage would a cleanup free, and how many objects wait to be removed?
with old as (
    select
        e.*,
        bool_and(e.last_accessed_at < now() - interval '30 days') over (partition by e.generation_key) as is_whole
    from copperplate.cache_entries as e
)

select
    'not served for 30 days' as what,
    count(*) as objects,
    coalesce(sum(o.file_size), 0) as bytes
from old as o
-- An original stays while any picture made from it does.
where o.kind = 'image' and o.last_accessed_at < now() - interval '30 days' and (o.is_whole or not o.is_original)
union all
select
    'waits to be removed from the store' as what,
    count(*) as objects,
    null as bytes
from copperplate.discarded_objects;
