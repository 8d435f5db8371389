-- What did each picture cost with all that was made from it, and what did the cache save? The root is the key of a
-- generation, or the SHA-256 of a picture that somebody brought. Spent is what providers reported, or else what a
-- submit costs at most; `unpriced` submits are in no sum. A generation that is no longer kept stands for itself.
with recursive above as (
    select
        l.key,
        l.key as root,
        l.image_hash as digest,
        0 as depth
    from public.picture_lineage as l
    union all
    select
        a.key,
        coalesce(s.parent_key, s.digest) as root,
        s.parent_source as digest,
        a.depth + 1 as depth
    from above as a
    inner join copperplate.source_pictures as s on a.digest = s.digest
    where a.depth < 32
),

roots as (
    select distinct on (a.key)
        a.key,
        a.root
    from above as a
    order by a.key asc, a.depth desc
),

submits as (
    select
        coalesce(r.root, s.generation_key) as root,
        s.generation_key,
        s.saved,
        coalesce(s.cost_micro_usd, s.estimate_micro_usd) as micro_usd
    from copperplate.submits as s
    left join roots as r on s.generation_key = r.key
)

select
    s.root,
    count(distinct s.generation_key) as generations,
    count(*) as submits,
    count(*) filter (where s.micro_usd is null) as unpriced,
    round(sum(s.micro_usd) / 1000000.0, 6) as spent_usd,
    round(sum(s.saved * s.micro_usd) / 1000000.0, 6) as saved_usd
from submits as s
group by s.root
order by spent_usd desc nulls last, s.root asc
limit 100;
