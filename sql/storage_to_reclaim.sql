-- How much storage would a cleanup free, and how many objects wait to be removed?
with old as (
    select
        k.is_own_original,
        public.count_old_entries(k.name) as counts
    from copperplate.kinds as k
)

select
    'old, by the rule of its kind' as what,
    -- Where an original is not shown itself, what is shown are other objects.
    sum(
        (o.counts ->> 'generations')::bigint
        + case when o.is_own_original then 0 else (o.counts ->> 'pictures')::bigint end
    ) as objects,
    sum((o.counts ->> 'bytes')::bigint) as bytes
from old as o
union all
select
    'waits to be removed from the store' as what,
    count(*) as objects,
    null as bytes
from copperplate.discarded_objects;
