-- What are CDNs still to be told to forget, and what keeps it?
select
    p.scope as known_by,
    p.bucket,
    case
        when p.scope = 'tag' and p.generation_key is null then 'everything'
        when p.scope = 'object' and p.path is null then 'the whole bucket'
        else coalesce(p.generation_key, p.path)
    end as copies,
    case
        when p.claim is not null and p.due_at > copperplate.clock() then 'somebody is telling it'
        when p.due_at > copperplate.clock() and p.tries > 0 then 'it failed, and is tried again'
        when p.due_at > copperplate.clock() then 'it was told, and is told once more'
        else 'nothing: a work step of a process with such a CDN is going to tell it'
    end as state,
    p.tries,
    p.due_at,
    copperplate.clock() - p.declared_at as age
from copperplate.cdn_purges as p
order by p.due_at, p.id
limit 100;
