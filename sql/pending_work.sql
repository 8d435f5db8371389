-- What is still to be made although nobody waits, the most urgent first, and what keeps it from being begun?
-- public.get_pending_prompts(5) is the same in short.
select
    w.generation_key,
    w.kind,
    w.recipe ->> 'prompt' as prompt,
    w.priority,
    w.owner,
    w.batch_id,
    w.tries,
    case
        when g.status in ('pending', 'generating') and g.lease_until > copperplate.clock() then 'it is being made'
        when w.held_until > copperplate.clock() then 'somebody has taken it'
        when w.retry_at > copperplate.clock() then 'it rests after a failure'
        else 'nothing: a work step is going to take it'
    end as state,
    w.due_at,
    coalesce(g.error_class, '') as last_failure,
    copperplate.clock() - w.created_at as age
from copperplate.wishes as w
left join public.generation_status as g on w.generation_key = g.prompt_hash
where w.status = 'open'
order by w.priority, w.due_at, w.id
limit 100;
