-- Which generations have been under way for more than five minutes?
select *
from public.generation_status
where status = 'generating' and started_at < now() - interval '5 minutes';
