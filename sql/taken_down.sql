-- Which pictures are taken down, with how many that were made from them or have their bytes, and which are pinned?
select
    'taken down' as what,
    t.generation_key,
    -- Where a picture was named: its own key.
    nullif(t.asked_key, t.generation_key) as asked_key,
    null as prompt,
    t.reason,
    (
        select count(*)
        from copperplate.takedowns as f
        where f.follows_key = t.generation_key
    ) as took_along,
    t.created_at as since
from copperplate.takedowns as t
where t.follows_key is null
union all
select
    'pinned' as what,
    g.prompt_hash as generation_key,
    null as asked_key,
    g.prompt,
    null as reason,
    null as took_along,
    g.pinned_at as since
from public.generation_status as g
where g.pinned_at is not null
order by what, since;
