-- Which prompts are asked for most, and how many calls did each save?
select
    prompt,
    dimensions,
    format,
    total_requests,
    api_calls_made,
    (total_requests - api_calls_made) as api_calls_saved,
    status,
    created_at
from public.generation_status
order by total_requests desc
limit 10;
