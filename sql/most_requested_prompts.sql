-- Which prompts are asked for most, and how many calls did each save? A picture served without a call saves one.
-- All of a row since its created_at: after a purge its counts begin anew.
select
    g.prompt,
    g.dimensions,
    g.format,
    g.total_requests,
    g.api_calls_made,
    coalesce(b.saved, 0) as api_calls_saved,
    g.status,
    g.created_at
from public.generation_status as g
left join lateral (
    select sum(s.saved)::bigint as saved
    from copperplate.submits as s
    where s.generation_key = g.prompt_hash and s.sent_at >= g.created_at
) as b on true
order by g.total_requests desc
limit 10;
