-- Which prompts fail, why, and when will they be tried again? Delete a row to try at once.
select
    prompt,
    dimensions,
    error_class,
    error_message,
    attempt,
    retry_at
from public.generation_status
where status = 'failed'
order by retry_at desc
limit 50;
